"""Draw the network: receptive fields, positions that reach the logits, filters of the first layer."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar10.complexity import receptive_field
from cifar10.core import SIDE
from cifar10.drawing.png import BLUE
from cifar10.network.model import Net

MAPS = ("conv3", "transition1", "conv4", "conv5", "transition2", "conv7")  # at most six


def network_sheet(network: Net, image: NDArray[np.uint8]) -> Figure:
    """Draw `network`, dense, on the CPU, in evaluation mode, with the uint8 `image` (32, 32, 3) as an example."""
    figure = Figure(figsize=(9, 3.2), dpi=200, layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1.25, 0.85), wspace=0.04)  # type: ignore[misc] # an array
    _receptive_fields(left.subplots(), network, image)
    _positions(middle.subplots(2, 3).ravel(), network)
    right.suptitle("Filters of conv1, colours stretched", size=9)
    _filters(right.subplots(4, 4).ravel(), network)
    return figure


def _receptive_fields(axis: Axes, network: Net, image: NDArray[np.uint8]) -> None:
    axis.imshow(image, extent=(0, SIDE, SIDE, 0))
    layers = [*network.features.named_children(), ("average", network.pool)]
    for end in [*range(3, len(layers), 3), len(layers)]:  # every third layer, and the last
        size = receptive_field(nn.Sequential(*(module for _, module in layers[:end])))
        corner = SIDE / 2 - size / 2
        axis.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor=BLUE, linewidth=1.3))
        y = SIDE + 8 if end == 3 else min(corner - 1, -1)  # outside the picture
        axis.text(SIDE / 2, y, f"{layers[end - 1][0]}: {size}", ha="center", va="bottom", size=8, color=BLUE)
    axis.set(xlim=(-46, 78), ylim=(78, -48), xticks=(), yticks=(), facecolor="#ececec")
    axis.spines[:].set_visible(False)
    axis.set_title("Receptive fields in pixels; grey: padding", size=9)


def _positions(axes: Sequence[Axes], network: Net) -> None:
    """Draw which positions of some maps influence the logits, by their gradient."""
    maps = dict[str, Tensor]()
    with torch.enable_grad():
        output = torch.randn(64, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        for name, block in network.features.named_children():
            maps[name] = output = block(output)
            output.retain_grad()
        network.head(network.pool(output)).sum().backward()
    names = [name for name in MAPS if name in maps] or list(maps)[: len(axes)]  # those of another network
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, names, strict=False):
        gradient = maps[name].grad
        assert gradient is not None
        counts = (gradient.abs().sum(dim=(0, 1)) > 0).numpy()
        axis.imshow(counts, cmap=ListedColormap(["#dddddd", BLUE]), vmin=0, vmax=1)
        axis.set_xticks(np.arange(-0.5, len(counts)), minor=True)
        axis.set_yticks(np.arange(-0.5, len(counts)), minor=True)
        axis.grid(which="minor", color="white", linewidth=0.5)
        axis.tick_params(which="both", length=0, labelleft=False, labelbottom=False)
        axis.spines[:].set_visible(False)
        axis.set_title(f"{name}: {counts.sum()} of {counts.size}", size=7.5)
    axes[0].get_figure().suptitle("Blue: positions that reach the logits", size=9)  # type: ignore[union-attr]


def _filters(axes: Sequence[Axes], network: Net) -> None:
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    for axis, weight in zip(axes, first.weight.detach(), strict=False):
        low, high = weight.min(), weight.max()
        axis.imshow(((weight - low) / (high - low)).permute(1, 2, 0).numpy())
        axis.set_axis_off()
