"""Precision, recall and F1 of each class."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support


class ClassScores(NamedTuple):
    """Arrays (classes,), each entry 0...1; a class never predicted has precision 0."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def class_scores(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> ClassScores:
    """Precision, recall and F1 of every class, by scikit-learn; macro F1 is the mean of the last."""
    scores = precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=0)
    return ClassScores(*scores[:3])
