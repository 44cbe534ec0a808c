"""Size, cost and receptive field of a network, computed from its modules."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cifar10.core import SIDE
from cifar10.network.model import Net


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters, BatchNorm's scale and shift included."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def receptive_field(model: nn.Module) -> int:
    """Side, in pixels, of the square of input that reaches one output of a chain of convolutions and poolings."""
    size, jump = 1, 1  # jump: distance, in input pixels, between two neighbouring positions of the current map
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            size += (module.kernel_size[0] - 1) * module.dilation[0] * jump
            jump *= module.stride[0]
        elif isinstance(module, nn.AvgPool2d):
            size += (int(module.kernel_size) - 1) * jump  # type: ignore[arg-type]
            jump *= int(module.stride)  # type: ignore[arg-type]
    return size


def multiply_adds(model: nn.Module) -> int:
    """Return the multiply-adds of the convolutions for one image (3, SIDE, SIDE), padding counted."""
    return _multiply_adds(model)["Global"]


def multiply_adds_by_layer(network: Net) -> dict[str, int]:
    """The same for each layer of `network`, by its name, and the head."""
    counts = _multiply_adds(network)
    names = {name: f"Net.features.{name}" for name, _ in network.features.named_children()} | {"head": "Net.head"}
    return {name: counts[path] for name, path in names.items()}


def _multiply_adds(model: nn.Module) -> dict[str, int]:
    """By the path of each module, and "Global" for all."""
    device, training = next(model.parameters()).device, model.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 3, SIDE, SIDE, device=device))
    model.train(training)
    # The counter has a multiply-add as two operations.
    return {path: sum(counts.values()) // 2 for path, counts in counter.get_flop_counts().items()}
