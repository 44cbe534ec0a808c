"""Compute a network's size, cost and receptive field from its modules."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cifar10.core import SIDE
from cifar10.network.model import Net


def size(network: Net) -> dict[str, int]:
    """Return what metrics/train.json holds of a network."""
    counts = {"parameters": count_parameters, "receptive_field": receptive_field, "multiply_adds": multiply_adds}
    return {name: count(network) for name, count in counts.items()}


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters, including BatchNorm's scale and shift."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def receptive_field(model: nn.Module) -> int:
    """Return the side, in pixels, of the input square that one output of a chain of convolutions and poolings sees."""
    size, jump = 1, 1  # jump: distance, in input pixels, between two neighbouring positions of the current map
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            size += (module.kernel_size[0] - 1) * module.dilation[0] * jump
            jump *= module.stride[0]
        elif isinstance(module, nn.AvgPool2d):
            size += (int(module.kernel_size) - 1) * jump  # type: ignore[arg-type]
            jump *= int(module.stride)  # type: ignore[arg-type]
    return size


def multiply_adds(network: Net) -> int:
    """Return the multiply-adds of the convolutions for one image (3, 32, 32), including those with padding."""
    return sum(multiply_adds_by_layer(network).values())


def multiply_adds_by_layer(network: Net) -> dict[str, int]:
    """Return the multiply-adds of each layer of `network` and of its head, by name."""
    device, training = next(network.parameters()).device, network.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, SIDE, SIDE, device=device))
    network.train(training)
    paths = {name: f"Net.features.{name}" for name, _ in network.features.named_children()} | {"head": "Net.head"}
    counts = counter.get_flop_counts()  # with a multiply-add as two operations
    return {name: sum(counts[path].values()) // 2 for name, path in paths.items()}
