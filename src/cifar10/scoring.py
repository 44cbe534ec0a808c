"""The scores that only the final evaluation needs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support
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


class ClassScores(NamedTuple):
    """Arrays (10,), one entry per class, each 0...1; a class never predicted has precision 0."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def class_scores(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> ClassScores:
    """Precision, recall and F1 of every class, by scikit-learn; macro F1 is the mean of the last."""
    scores = precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=0)
    return ClassScores(*scores[:3])
