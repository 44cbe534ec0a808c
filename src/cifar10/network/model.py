"""Define the network: 189,376 parameters, receptive field 115, two executions of one function.

A stride-2, dilation-2 convolution reads only every other row and column, so three quarters of the positions of several
layers never reach the logits. `dense` is the readable specification. `lattice` computes only the positions that reach
them, with the same weights. In evaluation the two agree up to rounding. In training they differ, because BatchNorm
takes its statistics over the computed positions.
"""

from collections import OrderedDict
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from cifar10.core import SIDE
from cifar10.core.data import Statistics
from cifar10.core.params import Execution


class Geometry(NamedTuple):
    """Hold stride, dilation and padding of a 3x3 convolution: `before` is left and top, `after` right and bottom."""

    stride: int = 1
    dilation: int = 1
    before: int = 1
    after: int = 1


class Layer(NamedTuple):
    name: str
    kind: Literal["conv", "transition", "separable"]
    inputs: int
    outputs: int
    dense: Geometry = Geometry()
    lattice: Geometry = Geometry()


TRANSITION = Geometry(stride=2, dilation=2, before=2, after=2)
LAYERS = (  #                                                                    output size: dense  lattice
    Layer("conv1", "conv", 3, 16),  #                                                           32       32
    Layer("conv2", "conv", 16, 32),  #                                                          32       32
    Layer("conv3", "conv", 32, 64, Geometry(), Geometry(stride=2)),  #                          32       16
    Layer("transition1", "transition", 64, 32, TRANSITION, Geometry(stride=2)),  #              16        8
    Layer("conv4", "conv", 32, 64, Geometry(dilation=2), Geometry(before=0)),  #                14        7
    Layer("conv5", "conv", 64, 128, Geometry(dilation=2), Geometry(after=0)),  #                12        6
    Layer("transition2", "transition", 128, 16, TRANSITION, Geometry()),  #                      6        6
    Layer("conv6", "conv", 16, 32),  #                                                           6        6
    Layer("conv7", "conv", 32, 64, Geometry(), Geometry(stride=2)),  #                           6        3
    Layer("transition3", "transition", 64, 16, TRANSITION, Geometry()),  #                       3        3
    Layer("conv8", "separable", 16, 32),  #                                                      3        3
    Layer("conv9", "separable", 32, 64),  #                                                      3        3
)


class Normalise:
    """Map uint8 images (N, 32, 32, 3) to float (N, 3, 32, 32) in channels_last, each channel (x / 255 - mean) / std."""

    def __init__(self, statistics: Statistics, device: torch.device) -> None:
        self.mean, self.std = (255 * torch.tensor(values, device=device).view(3, 1, 1) for values in statistics)

    def __call__(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)


class Net(nn.Module):
    """Map normalised images (N, 3, 32, 32) to class logits (N, classes)."""

    def __init__(self, execution: Execution, dropout: float, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict((layer.name, _build(layer, getattr(layer, execution), dropout)) for layer in LAYERS)
        )
        self.pool = nn.AvgPool2d(_last_side(execution))  # all positions of the last map
        self.head = nn.Conv2d(LAYERS[-1].outputs, classes, kernel_size=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(f"images must be (N, 3, {SIDE}, {SIDE}), got {tuple(images.shape)}")
        logits: Tensor = self.head(self.pool(self.features(images)))
        return logits.flatten(1)


def _last_side(execution: Execution) -> int:
    """Return the side of the last layer's map, which is 3 for images of 32 pixels."""
    side = SIDE
    for layer in LAYERS:
        stride, dilation, before, after = getattr(layer, execution)
        side = (side + before + after - 2 * dilation - 1) // stride + 1
    return side


def _build(layer: Layer, geometry: Geometry, dropout: float) -> nn.Sequential:
    """Build one row of the table. Weights have names, not positions, so both executions share one state dict."""
    stride, dilation, before, after = geometry
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if before != after:
        modules["pad"] = nn.ZeroPad2d((before, after, before, after))
    separable = layer.kind == "separable"
    modules["depthwise" if separable else "conv"] = nn.Conv2d(
        layer.inputs,
        layer.inputs if separable else layer.outputs,
        kernel_size=3,
        stride=stride,
        dilation=dilation,
        padding=before if before == after else 0,
        groups=layer.inputs if separable else 1,
        bias=False,
    )
    if separable:
        modules["pointwise"] = nn.Conv2d(layer.inputs, layer.outputs, kernel_size=1, bias=False)
    if layer.kind != "transition":
        modules["bn"] = nn.BatchNorm2d(layer.outputs)
        modules["relu"] = nn.ReLU(inplace=True)
        if dropout > 0:
            modules["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(modules)
