"""Logits for images, and the loss and accuracy they give."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cifar10.model import Net, folded
from cifar10.runtime import Runtime
from cifar10.statistics import Statistics


class Score(NamedTuple):
    loss: float  # mean cross-entropy, nats
    accuracy: float  # 0...1


class Normalise:
    """Map uint8 images (N, 32, 32, 3) to float (N, 3, 32, 32) in channels_last, each channel (x / 255 - mean) / std."""

    def __init__(self, statistics: Statistics, device: torch.device) -> None:
        self.mean, self.std = (255 * torch.tensor(values, device=device).view(3, 1, 1) for values in statistics)

    def __call__(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)


def predict(
    model: Net, images: NDArray[np.uint8], statistics: Statistics, runtime: Runtime, batch_size: int = 500
) -> Tensor:
    """Map uint8 images (N, 32, 32, 3) to float32 logits (N, 10) on the CPU, by `model` as it is in evaluation mode."""
    model, normalise = folded(model), Normalise(statistics, runtime.device)
    logits = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(runtime.device)
            with runtime.autocast():
                logits.append(model(normalise(batch)).float().cpu())
    return torch.cat(logits)


def score(logits: Tensor, labels: NDArray[np.uint8]) -> Score:
    """Mean cross-entropy and accuracy of logits (N, 10) against labels (N,)."""
    target = torch.from_numpy(labels.astype(np.int64))
    return Score(F.cross_entropy(logits, target).item(), (logits.argmax(1) == target).double().mean().item())
