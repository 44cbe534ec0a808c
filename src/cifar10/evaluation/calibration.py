"""How far the network's confidence is from its accuracy."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def calibration_error(logits: Tensor, labels: NDArray[np.uint8], bins: int = 15) -> float:
    """Expected calibration error, 0...1: |accuracy - confidence| in `bins` equal-width bins, weighted by their size.

    Guo et al., On Calibration of Modern Neural Networks, 2017. A bin holds confidences in (low, high].
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    correct = (predicted.numpy() == labels).astype(np.float64)
    index = np.clip(np.ceil(confidence.numpy() * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=correct - confidence.numpy(), minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
