"""Fold BatchNorm into the convolutions, for evaluation."""

from copy import deepcopy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cifar10.network.model import Net


def folded(model: Net) -> Net:
    """Copy `model` for evaluation; fold each BatchNorm into the convolution before it, to save passes over memory."""
    model = deepcopy(model).eval()
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        for (name, conv), (behind, norm) in pairwise(list(block.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, fuse_conv_bn_eval(conv, norm))
                delattr(block, behind)
    return model
