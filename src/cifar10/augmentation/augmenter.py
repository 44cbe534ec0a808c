"""Which images are mirrored, and the form of the augmentation that params.yaml names."""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from cifar10.augmentation.fused import Fused
from cifar10.augmentation.transforms import Composed
from cifar10.core.data import Statistics
from cifar10.core.params import Augmentation, Params

# The third number of a seed, one for each use; not 0, as [a, b] and [a, b, 0] give the same stream.
ORDER, DROPOUT, SAMPLES, AVERAGE, FLIPS, FIRST_STEP = 1, 2, 3, 4, 5, 6


def augmenter(params: Params, statistics: Statistics) -> Composed | Fused:
    """Return what maps uint8 images (N, 32, 32, 3) and entropy to augmented images."""
    match params.augment_with:
        case "albumentations":
            return Composed(params.augmentation, statistics.mean)
        case "fused":
            return Fused(params.augmentation, statistics.mean)
        case other:
            assert_never(other)


def alternate_flips(a: Augmentation, images: int, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Return a mask (images,) of those to mirror in `epoch`: a random half in even epochs, the other half in odd ones.

    If `a.flip` is random, the mask is all False, and flips are drawn with the other changes. After cifar10-airbench.
    """
    if a.flip == "random":
        return np.zeros(images, bool)
    even = np.random.default_rng([seed, 0, FLIPS]).random(images) < 0.5
    return ~even if epoch % 2 else even
