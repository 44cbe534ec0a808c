"""Draw augmented images: each transform alone, then all of them as in training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifar10.augmentation.fused import augmenter
from cifar10.augmentation.transforms import alternate_flips
from cifar10.core import SAMPLES
from cifar10.core.data import Split, Statistics
from cifar10.core.params import Augmentation, Params
from cifar10.drawing.sheet import Cell, sheet

ALONE = [name.removesuffix("_p") for name in Augmentation.model_fields if name.endswith("_p")]  # flip, affine, hole
OFF = {"flip": "random"} | {f"{name}_p": 0.0 for name in ALONE}


def clearest(split: Split, candidates: int = 50) -> Split:
    """Return one image of each class: of its first `candidates`, that whose centre differs most from a plain border."""

    def contrast(image: NDArray[np.uint8]) -> float:
        pixels = image.astype(np.float64)
        outside = np.ones(image.shape[:2], bool)
        outside[4:-4, 4:-4] = False
        border, centre = pixels[outside], pixels[8:-8, 8:-8].reshape(-1, 3)
        return float(np.abs(centre - border.mean(axis=0)).mean() - 2 * border.std(axis=0).mean())

    firsts = [np.flatnonzero(split.labels == label)[:candidates] for label in np.unique(split.labels)]
    chosen = [max(indices, key=lambda i: contrast(split.images[i])) for indices in firsts]
    return Split(split.images[chosen], split.labels[chosen])


def augmented_samples(
    split: Split, classes: Sequence[str], statistics: Statistics, params: Params, rows: Sequence[int]
) -> Figure:
    """Draw these images of `split`, one row each: plain, each transform alone, then four times as in training."""

    def augmented(augmentation: Augmentation, number: int) -> NDArray[np.uint8]:
        augment = augmenter(params.model_copy(update={"augmentation": augmentation}), statistics)
        mirrored = alternate_flips(augmentation, len(split.labels), params.seed, number)[:, None, None, None]
        return augment(np.where(mirrored, split.images[:, :, ::-1], split.images), [params.seed, number, SAMPLES])

    probabilities = {name: getattr(params.augmentation, f"{name}_p") for name in ALONE}
    if params.augmentation.flip == "alternate":
        probabilities["flip"] = 1.0
    used = [name for name in ALONE if probabilities[name] > 0]
    shifts_only = params.augmentation.scale == params.augmentation.rotate == 0
    names = ["shift" if name == "affine" and shifts_only else name for name in used]
    alone = [augmented(params.augmentation.model_copy(update=OFF | {f"{name}_p": 1.0}), 0) for name in used]
    trained = [augmented(params.augmentation, number) for number in range(4)]
    columns = [split.images, *alone, *trained]
    return sheet(
        [[Cell(column[i]) for column in columns] for i in rows],
        "What the network sees in training",
        "Images as they are, with each transform alone, and four times as drawn in training",
        [classes[split.labels[i]] for i in rows],
        ["plain", *names, *["as in training"] * 4],
    )
