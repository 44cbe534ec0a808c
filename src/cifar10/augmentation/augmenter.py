"""Choose the augmentation that params.yaml names, and the images to mirror."""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from cifar10.augmentation.fused import Fused
from cifar10.augmentation.transforms import Composed
from cifar10.core.data import Statistics
from cifar10.core.params import Augmentation, Params

# The third number of a seed, one for each use. None is 0, because [a, b] and [a, b, 0] give the same stream.
ORDER, DROPOUT, SAMPLES, AVERAGE, FLIPS, FIRST_STEP = 1, 2, 3, 4, 5, 6


def augmenter(params: Params, statistics: Statistics) -> Composed | Fused:
    """Return a callable that maps uint8 images (N, 32, 32, 3) and entropy to augmented images."""
    match params.augment_with:
        case "albumentations":
            return Composed(params.augmentation, statistics.mean)
        case "fused":
            return Fused(params.augmentation, statistics.mean)
        case other:
            assert_never(other)


def alternate_flips(a: Augmentation, images: int, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Return a mask (images,) of the images to mirror: a random half in even epochs, the other half in odd ones.

    cifar10-airbench does the same. If `a.flip` is random, the mask is all False, because the transforms draw the flips.
    """
    if a.flip == "random":
        return np.zeros(images, bool)
    even = np.random.default_rng([seed, 0, FLIPS]).random(images) < 0.5
    return ~even if epoch % 2 else even
