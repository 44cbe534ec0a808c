"""The sheet of the most confident mistakes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def confident_mistakes(
    images: NDArray[np.uint8],
    actual: NDArray[np.integer],
    predicted: NDArray[np.integer],
    confidence: NDArray[np.floating],
    classes: Sequence[str],
    count: int = 40,
) -> Figure:
    """The `count` wrong predictions of highest confidence (0...1), most confident first."""
    wrong = np.flatnonzero(actual != predicted)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    rows = max(1, -(-len(chosen) // 8))
    figure = Figure(figsize=(11, 0.6 + 1.4 * rows), layout="constrained")
    figure.suptitle(f"The {len(chosen)} most confident of {len(wrong)} mistakes: predicted (confidence), actual")
    for axis, index in zip(figure.subplots(rows, 8).flat, [*chosen, *[None] * count], strict=False):
        axis.set_axis_off()
        if index is not None:
            axis.imshow(images[index])
            title = f"{classes[predicted[index]]} ({confidence[index]:.2f})\nis {classes[actual[index]]}"
            axis.set_title(title, fontsize=8)
    return figure
