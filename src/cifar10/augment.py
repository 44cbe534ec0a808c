"""The training augmentation: flip, affine and hole in one pass, through albumentations or on the device.

What happens to each image is drawn first, for a whole batch at once; the same draws can then be applied by either.
"""

import os
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import looks for a newer version on the network

import albumentations as A
import cv2

from cifar10.params import Augmentation

cv2.setNumThreads(0)  # an image of 32x32 is no work for a thread pool

SIDE = 32
CENTRE = (SIDE - 1) / 2
UNMOVED = np.eye(2, 3)


class Draws(NamedTuple):
    """What happens to each of N images."""

    matrices: NDArray[np.float64]  # (N, 2, 3): where pixel (x, y, 1) of the image goes, the flip included
    corners: NDArray[np.int64]  # (N, 2): row and column where the hole starts; SIDE, outside, where there is none


def draw(a: Augmentation, count: int, generator: np.random.Generator) -> Draws:
    """Draw what HorizontalFlip, then Affine, then CoarseDropout would, for `count` images."""
    flip = np.where(generator.random(count) < a.flip_p, -1, 1)
    affine = generator.random(count) < a.affine_p
    angle = affine * np.deg2rad(generator.uniform(-a.rotate, a.rotate, count))
    scale = 1 + affine * generator.uniform(-a.scale, a.scale, count)
    # In whole pixels, the largest included: a fraction would be truncated, and the largest shift never drawn.
    largest = round(SIDE * a.shift)
    shift = affine[:, None] * generator.integers(-largest, largest, (count, 2), endpoint=True)
    sine, cosine = scale * np.sin(angle), scale * np.cos(angle)
    linear = np.stack([flip * cosine, sine, -flip * sine, cosine], axis=1).reshape(count, 2, 2)
    offset = CENTRE + shift - linear.sum(axis=2) * CENTRE  # everything turns about the image's centre
    corners = generator.integers(0, SIDE - a.hole_size, (count, 2), endpoint=True)
    corners[generator.random(count) >= a.hole_p] = SIDE
    return Draws(np.concatenate([linear, offset[..., None]], axis=2), corners)


class FlipAffineHole(A.ImageOnlyTransform):  # type: ignore[misc]
    """albumentations' HorizontalFlip, Affine and CoarseDropout at a tenth of their cost, for `images` (N, 32, 32, 3).

    One warp serves flip and affine, and each image of the batch has draws of its own, in one call. The border is
    reflected; the hole is filled with the dataset mean (0...1).
    """

    def __init__(self, augmentation: Augmentation, mean: Sequence[float]) -> None:
        super().__init__(p=1.0)
        self.augmentation = augmentation
        self.fill = np.round(255 * np.asarray(mean)).astype(np.uint8)  # a fill in 0...1 would paint black

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return draw(self.augmentation, len(data["images"]), self.random_generator)._asdict()

    def apply_to_images(
        self, images: NDArray[np.uint8], matrices: NDArray[np.float64], corners: NDArray[np.int64], **_: Any
    ) -> NDArray[np.uint8]:
        result, size = images.copy(), self.augmentation.hole_size
        for i in np.flatnonzero((matrices != UNMOVED).any(axis=(1, 2))):
            cv2.warpAffine(images[i], matrices[i], (SIDE, SIDE), result[i], cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
        for image, (row, column) in zip(result, corners.tolist(), strict=True):
            image[row : row + size, column : column + size] = self.fill
        return result


def augment_batch(transform: FlipAffineHole, images: NDArray[np.uint8], entropy: Sequence[int]) -> NDArray[np.uint8]:
    """Augment uint8 images (B, 32, 32, 3), each with its own draws; all of them derive from `entropy` alone."""
    transform.set_random_state(np.random.default_rng(entropy), random.Random(0))
    result: NDArray[np.uint8] = transform(images=images)["images"]
    return result


def augment_on_device(images: Tensor, draws: Draws, hole_size: int, fill: Tensor) -> Tensor:
    """Apply `draws` to uint8 images (N, 32, 32, 3) where they are; `fill` is uint8 (3,).

    Differs from FlipAffineHole by rounding: OpenCV's coordinates are multiples of 1/32 pixel.
    """
    # affine_grid wants the way back, from output to input, in coordinates that are -1 and 1 at the outermost centres.
    back = np.linalg.inv(draws.matrices[:, :, :2])
    theta = np.concatenate([back, back @ (1 - draws.matrices[:, :, 2:] / CENTRE) - 1], axis=2)
    pixels = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(torch.from_numpy(theta).float().to(images.device), list(pixels.shape), align_corners=True)
    warped = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=True).round().byte()
    # Inside the hole: 0 <= place - corner < hole_size, along rows and along columns.
    inside = torch.arange(SIDE) - torch.from_numpy(draws.corners)[..., None]
    inside = ((inside >= 0) & (inside < hole_size)).to(images.device)
    hole = (inside[:, 0, :, None] & inside[:, 1, None, :])[..., None]
    return torch.where(hole, fill, warped.permute(0, 2, 3, 1))
