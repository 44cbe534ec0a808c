"""The one form of data downstream of `download`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Split(NamedTuple):
    images: NDArray[np.uint8]  # (N, 32, 32, 3), RGB
    labels: NDArray[np.uint8]  # (N,), indices into the class names
