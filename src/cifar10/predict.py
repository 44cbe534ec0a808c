"""Compute logits of images, plain or averaged over several views, and their loss and accuracy."""

import math
from collections.abc import Iterator
from typing import NamedTuple, assert_never

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cifar10.core.data import Statistics
from cifar10.core.params import TestTimeAugmentation
from cifar10.machine.runtime import Runtime
from cifar10.network.folding import folded
from cifar10.network.model import Net, Normalise


class Score(NamedTuple):
    loss: float  # mean cross-entropy, nats
    accuracy: float  # 0...1


class Logits(NamedTuple):
    plain: Tensor  # (N, 10): of each image as it is
    averaged: Tensor  # (N, 10): mean over the views of each image


def predict(
    model: Net, images: NDArray[np.uint8], statistics: Statistics, runtime: Runtime, tta: TestTimeAugmentation = "none"
) -> Logits:
    """Map uint8 images (N, 32, 32, 3) to float32 logits (N, 10) on the CPU, by a copy of `model` in evaluation mode."""
    model, parts = folded(model), []
    with torch.inference_mode(), runtime.autocast():
        for batch in normalised(images, statistics, runtime):
            weights, logits = zip(*((w, model(view).float()) for w, view in views(batch, tta)), strict=True)
            averaged = sum(w * each for w, each in zip(weights, logits, strict=True))
            parts.append(Logits(logits[0].cpu(), averaged.cpu()))
    return Logits(*(torch.cat(each) for each in zip(*parts, strict=True)))


def views(images: Tensor, tta: TestTimeAugmentation) -> Iterator[tuple[float, Tensor]]:
    """Yield weight and images (N, C, H, W) of each view: plain, mirrored, and both moved by a pixel diagonally.

    The border is reflected. cifar10-airbench uses the same views.
    """
    match tta:
        case "none":
            yield 1.0, images
            return
        case "flip":
            shifts = [(1, 1.0)]
        case "flip+shift":
            shifts = [(1, 0.5), (0, 0.25), (2, 0.25)]
        case other:
            assert_never(other)
    side = images.shape[-1]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    for start, weight in shifts:
        view = padded[..., start : start + side, start : start + side]
        yield weight / 2, view
        yield weight / 2, view.flip(-1)


def normalised(
    images: NDArray[np.uint8], statistics: Statistics, runtime: Runtime, batch_size: int = 125
) -> Iterator[Tensor]:
    """Yield batches of uint8 images (N, 32, 32, 3), normalised, on the device."""
    normalise = Normalise(statistics, runtime.device)
    for start in range(0, len(images), batch_size):
        batch = normalise(torch.from_numpy(np.array(images[start : start + batch_size])).to(runtime.device))
        with runtime.turn:  # lasts until the next batch is asked for
            yield batch


def wilson(accuracy: float, images: int) -> tuple[float, float]:
    """Return the interval in which the true accuracy lies with 95 % probability, Wilson's for a proportion."""
    z = 1.959964  # of the normal distribution
    centre = (accuracy + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * math.sqrt(accuracy * (1 - accuracy) / images + z**2 / (4 * images**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def score(logits: Tensor, labels: NDArray[np.uint8]) -> Score:
    """Return mean cross-entropy and accuracy of logits (N, 10) against labels (N,)."""
    target = torch.from_numpy(labels.astype(np.int64))
    return Score(F.cross_entropy(logits, target).item(), (logits.argmax(1) == target).double().mean().item())
