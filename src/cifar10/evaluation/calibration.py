"""Measure how far the network's confidence is from its accuracy."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BINS = 15  # of equal width; a bin holds confidences in (low, high]


def calibration_error(logits: Tensor, labels: NDArray[np.uint8], bins: int = BINS) -> float:
    """Return the expected calibration error, 0...1: |accuracy - confidence| of the bins, weighted by their size.

    See Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    confidence, correct, index = _binned(logits, labels, bins)
    gaps = np.bincount(index, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(logits: Tensor, labels: NDArray[np.uint8], bins: int = BINS) -> Iterator[tuple[float, float, int]]:
    """Yield mean confidence, accuracy and number of images of each bin that is not empty."""
    confidence, correct, index = _binned(logits, labels, bins)
    for each in np.unique(index):
        yield confidence[index == each].mean(), correct[index == each].mean(), int((index == each).sum())


def _binned(
    logits: Tensor, labels: NDArray[np.uint8], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return each image's confidence, whether its class is right (0 or 1), and its bin."""
    highest, predicted = logits.double().softmax(1).max(1)
    correct = (predicted.numpy() == labels).astype(np.float64)
    index = np.clip(np.ceil(highest.numpy() * bins).astype(int) - 1, 0, bins - 1)
    return highest.numpy(), correct, index
