"""Compute a network's size, cost and receptive field from its modules."""

from typing import NamedTuple

import torch
from torch import nn

from cifar10.core import SIDE
from cifar10.network.model import Net


class LayerSize(NamedTuple):
    name: str
    output: str  # "16x32x32": channels, height, width
    parameters: int
    multiply_adds: int  # of the dense network, for one image
    lattice: int  # multiply-adds of the lattice
    receptive_field: int  # pixels


def layer_sizes(classes: int) -> list[LayerSize]:
    """Return what each layer of the network costs, from the first to the head."""
    network, lattice = (Net(execution, 0.0, classes).eval() for execution in ("dense", "lattice"))
    counts, fewer = multiply_adds_by_layer(network), multiply_adds_by_layer(lattice)
    layers = [*network.features.named_children(), ("average", network.pool), ("head", network.head)]
    rows, output = [], torch.zeros(1, 3, SIDE, SIDE)
    for i, (name, module) in enumerate(layers):
        with torch.no_grad():
            output = module(output)
        numbers = count_parameters(module), counts.get(name, 0), fewer.get(name, 0)
        field = receptive_field(nn.Sequential(*(each for _, each in layers[: i + 1])))
        rows.append(LayerSize(name, "x".join(map(str, output.shape[1:])), *numbers, field))
    return rows


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
    from torch.utils.flop_counter import FlopCounterMode  # imported here, because it imports Triton

    device, training = next(network.parameters()).device, network.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, SIDE, SIDE, device=device))
    network.train(training)
    paths = {name: f"Net.features.{name}" for name, _ in network.features.named_children()} | {"head": "Net.head"}
    counts = counter.get_flop_counts()  # with a multiply-add as two operations
    return {name: sum(counts[path].values()) // 2 for name, path in paths.items()}
