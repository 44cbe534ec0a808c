"""Per-channel mean and standard deviation, exact and streaming."""

import numpy as np
from numpy.typing import NDArray

from cifar10.core.data import Statistics


def channel_statistics(images: NDArray[np.uint8], chunk: int = 4096) -> Statistics:
    """Mean and std over all pixels of uint8 images (N, H, W, 3), in 0...1.

    Counts how often each of the 256 values occurs, in integers, `chunk` images at a time: no float copy of the images,
    no rounding before the last step, and the same result for every chunk size.
    """
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), chunk):
        part = np.asarray(images[start : start + chunk])
        for channel in range(3):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
    return Statistics(mean.tolist(), std.tolist())
