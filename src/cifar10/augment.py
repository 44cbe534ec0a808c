"""The training augmentation, with albumentations."""

import os
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import looks for a newer version on the network

import albumentations as A
import cv2

from cifar10.params import Augmentation

cv2.setNumThreads(0)  # an image of 32x32 is no work for a thread pool


def build_augmentation(augmentation: Augmentation, mean: Sequence[float]) -> A.Compose:
    """Flip, affine and hole for one uint8 image (32, 32, 3); the hole is filled with the dataset mean (0...1)."""
    a = augmentation
    return A.Compose(
        [
            A.HorizontalFlip(p=a.flip_p),
            A.Affine(
                # In pixels: a fraction would be truncated to whole pixels, and the largest shift never drawn.
                translate_px=(-round(32 * a.shift), round(32 * a.shift)),
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
                fill=tuple(round(255 * channel) for channel in mean),  # a fill in 0...1 would paint black
                fill_mask=None,
                p=a.hole_p,
            ),
        ],
        strict=True,  # a misspelt or outdated argument is an error, not a warning
    )


def augment_batch(augment: A.Compose, images: NDArray[np.uint8], entropy: Sequence[int]) -> NDArray[np.uint8]:
    """Augment uint8 images (B, 32, 32, 3), each with its own draws; all of them derive from `entropy` alone."""
    generator = np.random.default_rng(entropy)
    # Reseeding each image with set_random_seed would give all three transforms the same draw.
    augment.set_random_state(generator, random.Random(int(generator.integers(2**63))))
    return np.stack([augment(image=image)["image"] for image in images])
