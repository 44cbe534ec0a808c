"""Define the types in which the stages exchange data, and hold out the validation split."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Split(NamedTuple):
    images: NDArray[np.uint8]  # (N, 32, 32, 3), RGB
    labels: NDArray[np.uint8]  # (N,), indices into the class names


class Dataset(NamedTuple):
    train: Split
    test: Split
    classes: list[str]


class Statistics(NamedTuple):
    mean: list[float]  # per channel (R, G, B), pixels in 0...1
    std: list[float]  # population standard deviation, same scale


def hold_out(split: Split, validation_size: int, seed: int) -> tuple[Split, Split]:
    """Split N images into N - `validation_size` for training and the rest for validation, stratified by class."""
    if validation_size == 0:
        return split, Split(split.images[:0], split.labels[:0])
    from sklearn.model_selection import train_test_split  # imported here, because it takes a second

    indices = np.arange(len(split.labels))
    train, validation = train_test_split(indices, test_size=validation_size, stratify=split.labels, random_state=seed)
    return tuple(Split(split.images[i], split.labels[i]) for i in (np.sort(train), np.sort(validation)))  # type: ignore[return-value]
