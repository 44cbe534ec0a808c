"""The types in which the stages exchange the data."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Split(NamedTuple):
    images: NDArray[np.uint8]  # (N, 32, 32, 3), RGB
    labels: NDArray[np.uint8]  # (N,), indices into the class names


class Statistics(NamedTuple):
    mean: list[float]  # per channel (R, G, B), pixels in 0...1
    std: list[float]  # population standard deviation, same scale
