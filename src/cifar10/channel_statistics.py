"""Compute the mean and standard deviation of each channel."""

import numpy as np
from numpy.typing import NDArray

from cifar10.core.data import Statistics


def channel_statistics(images: NDArray[np.uint8], chunk: int = 4096) -> Statistics:
    """Return mean and std over all pixels of uint8 images (N, H, W, 3), in 0...1; 1 for the std of a constant channel.

    It counts each of the 256 values, `chunk` images at a time, so it needs no float copy of the images, and the result
    is the same for every chunk size.
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
    return Statistics(mean.tolist(), np.where(std > 0, std, 1.0).tolist())  # images are divided by it
