"""The sheet of augmented samples: what the network sees in training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifar10.core.data import Split
from cifar10.training.augmentation import Composed
from cifar10.training.batches import SAMPLES
from cifar10.training.fused import Fused


def augmented_examples(
    augment: Composed | Fused, split: Split, seed: int, draws: int = 9
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first image of each class (C, 32, 32, 3) and `draws` augmented versions of each (C, draws, 32, 32, 3)."""
    _, first = np.unique(split.labels, return_index=True)
    originals = split.images[first]
    versions = augment(np.repeat(originals, draws, axis=0), [seed, 0, SAMPLES])
    return originals, versions.reshape(len(first), draws, *originals.shape[1:])


def augmented_samples(originals: NDArray[np.uint8], versions: NDArray[np.uint8], classes: Sequence[str]) -> Figure:
    """One original (C, H, W, 3) of each class on the left, its augmented versions (C, K, H, W, 3) beside it."""
    figure = Figure(figsize=(9, 9.6), layout="constrained")
    figure.suptitle("One image of each class: the original (left), then as the network sees it in training")
    axes = figure.subplots(len(classes), versions.shape[1] + 1)
    for label, row in enumerate(axes):
        for axis, image in zip(row, [originals[label], *versions[label]], strict=True):
            axis.imshow(image)
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(classes[label])
    return figure
