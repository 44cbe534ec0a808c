"""Compute precision, recall and F1 of each class."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support


class ClassScores(NamedTuple):
    """Hold arrays (classes,) in 0...1; a class that is never predicted has precision 0."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def class_scores(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> ClassScores:
    """Return scikit-learn's scores of every class; macro F1 is the mean of `f1`."""
    scores = precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=0)
    return ClassScores(*scores[:3])
