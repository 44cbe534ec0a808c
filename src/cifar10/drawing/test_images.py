"""Draw sheets of test images with the network's predictions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifar10.drawing.png import BLUE, ORANGE
from cifar10.drawing.sheet import Cell, sheet

COLUMNS = 8


class Predictions(NamedTuple):
    images: NDArray[np.uint8]  # (N, 32, 32, 3)
    actual: NDArray[np.integer]  # (N,)
    predicted: NDArray[np.integer]  # (N,)
    confidence: NDArray[np.floating]  # (N,): 0...1
    classes: Sequence[str]


def confident_mistakes(predictions: Predictions, count: int = 24) -> Figure:
    """Draw the `count` wrong predictions of highest confidence, most confident first."""
    images, actual, predicted, confidence, classes = predictions
    wrong = np.flatnonzero(actual != predicted)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    captions = [f"{classes[predicted[i]]} {confidence[i]:.1%}\nlabel: {classes[actual[i]]}\n#{i}" for i in chosen]
    title = f"The {len(chosen)} most confident of {len(wrong):,} mistakes"
    if len(wrong) < 2:
        title = "The only mistake" if len(wrong) else "No mistakes"
    return _sheet(
        [Cell(images[i], caption) for i, caption in zip(chosen, captions, strict=True)],
        title,
        f"of {len(actual):,} test images: prediction, probability, label, number; some labels may be wrong",
    )


def example_images(predictions: Predictions, count: int = 24) -> Figure:
    """Draw `count` test images at equal distances, always the same, so that two networks can be compared."""
    images, actual, predicted, confidence, classes = predictions
    cells = []
    for i in np.arange(min(count, len(actual))) * max(1, len(actual) // count):
        right = actual[i] == predicted[i]
        caption = f"{classes[predicted[i]]} {confidence[i]:.0%}" + ("" if right else f"\nlabel: {classes[actual[i]]}")
        cells.append(Cell(images[i], caption, BLUE if right else ORANGE))
    right = sum(cell.frame == BLUE for cell in cells)
    title = f"{len(cells)} test images, always the same: {right} right (blue), {len(cells) - right} wrong (orange)"
    return _sheet(cells, title, "prediction and its probability")


def _sheet(cells: Sequence[Cell], title: str, subtitle: str) -> Figure:
    return sheet([cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)], title, subtitle)
