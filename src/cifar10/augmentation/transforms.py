"""Augment training images one by one, by a list of albumentations transforms.

To try another transform, add it to the list in `composed` and train with `augment_with: albumentations`. The faster
form in fused.py refuses any other list.
"""

import random
from collections.abc import Sequence

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from cifar10.core import FLIPS, SIDE
from cifar10.core.params import Augmentation

cv2.setNumThreads(0)  # a 32x32 image is too small for a thread pool


def composed(a: Augmentation, mean: Sequence[float]) -> A.Compose:
    """Return the three transforms for one uint8 image (32, 32, 3); `mean` (0...1), per channel, fills the hole."""
    # Whole pixels, because Affine would truncate a fraction and so never draw the largest shift.
    shift = round(SIDE * a.shift)
    return A.Compose(
        [
            A.HorizontalFlip(p=a.random_flip_p),
            A.Affine(
                translate_px=(-shift, shift),
                scale=(1 - a.scale, 1 + a.scale),
                keep_ratio=True,
                rotate=(-a.rotate, a.rotate),
                border_mode=cv2.BORDER_REFLECT_101,
                p=a.affine_p,
            ),
            A.CoarseDropout(
                num_holes_range=(1, 1),
                hole_height_range=(a.hole_size, a.hole_size),
                hole_width_range=(a.hole_size, a.hole_size),
                fill=fill_value(mean),
                p=a.hole_p,
            ),
        ],
        strict=True,  # an argument that albumentations does not know is an error
    )


def alternate_flips(a: Augmentation, images: int, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Return a mask (images,) of the images to mirror: a random half in even epochs, the other half in odd ones.

    cifar10-airbench does the same. If `a.flip` is random, the mask is all False, because the transforms draw the flips.
    """
    if a.flip == "random":
        return np.zeros(images, bool)
    even = np.random.default_rng([seed, 0, FLIPS]).random(images) < 0.5
    return ~even if epoch % 2 else even


def fill_value(mean: Sequence[float]) -> tuple[int, ...]:
    """Return `mean` (0...1) as grey levels 0...255, which CoarseDropout takes; 0.5 would paint black."""
    return tuple(round(255 * channel) for channel in mean)


def generators(entropy: Sequence[int]) -> tuple[np.random.Generator, random.Random]:
    """Return the two generators that albumentations draws from, derived from `entropy`."""
    numbers, integers = np.random.SeedSequence(entropy).spawn(2)
    return np.random.default_rng(numbers), random.Random(int(integers.generate_state(1, np.uint64)[0]))


class Composed:
    """Map uint8 images (N, 32, 32, 3) to augmented images, one by one; all draws derive from `entropy` alone."""

    def __init__(self, a: Augmentation, mean: Sequence[float]) -> None:
        self.transform = composed(a, mean)

    def __call__(self, images: NDArray[np.uint8], entropy: Sequence[int]) -> NDArray[np.uint8]:
        self.transform.set_random_state(*generators(entropy))
        return np.stack([self.transform(image=image)["image"] for image in images])
