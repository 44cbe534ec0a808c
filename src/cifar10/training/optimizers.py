"""Optimizers, as params.yaml names them."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cifar10.core.params import Params
from cifar10.training.muon import Muon


def build_optimizers(model: nn.Module, params: Params) -> list[Optimizer]:
    """The optimizers that `params` name.

    Weight decay on the convolutions only: shrinking BatchNorm's scale and shift regularises nothing.
    """
    by_muon: list[Tensor] = []
    if params.optimizer == "muon":
        # Not the depthwise ones, whose weights are no matrices, nor the last, the head, which no BatchNorm follows.
        by_muon = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == 1][:-1]
    rest = [p for p in model.parameters() if all(p is not weight for weight in by_muon)]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # On a GPU a tensor, which a CUDA graph reads in each step; a number would stay what it was at the capture.
    device = next(model.parameters()).device
    lr = torch.tensor(params.lr, device=device) if device.type == "cuda" else params.lr
    # fused: one kernel for all weights; they are so small that a call for each would take longer than the arithmetic.
    if params.optimizer == "adam":
        return [torch.optim.Adam(groups, lr=lr, fused=True, capturable=device.type == "cuda")]
    if params.optimizer == "adamw":
        return [torch.optim.AdamW(groups, lr=lr, fused=True, capturable=device.type == "cuda")]
    sgd = torch.optim.SGD(groups, lr=lr, momentum=params.momentum, nesterov=params.nesterov, fused=True)
    if not by_muon:
        return [sgd]
    return [sgd, Muon(by_muon, lr * params.muon.lr_ratio, params.muon.momentum)]
