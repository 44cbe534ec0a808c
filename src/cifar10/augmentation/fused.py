"""Compute the same pixels as transforms.py, faster.

All random numbers of a batch are drawn first, by the calls that albumentations 2.0.8 makes, in the same order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from cifar10.augmentation.transforms import Composed, composed, fill_value, generators
from cifar10.core import SIDE
from cifar10.core.data import Statistics
from cifar10.core.errors import UserError
from cifar10.core.params import Augmentation, Params

CENTRE = (SIDE - 1) / 2
KNOWN = [A.HorizontalFlip, A.Affine, A.CoarseDropout]


class Draws(NamedTuple):
    """Hold the changes to each of N images."""

    flips: NDArray[np.bool_]  # (N,)
    moves: NDArray[np.bool_]  # (N,): whether the matrix is applied
    matrices: NDArray[np.float64]  # (N, 2, 3): where pixel (x, y, 1) of the flipped image goes
    corners: NDArray[np.int64]  # (N, 2): row and column where the hole starts; SIDE, outside, if there is none


def draw(a: Augmentation, count: int, entropy: Sequence[int]) -> Draws:
    """Draw what `composed` would draw for `count` images in turn, by the same calls of the same generators."""
    numpy_generator, py_random = generators(entropy)
    chance, uniform, randint = py_random.random, py_random.uniform, py_random.randint
    integers = numpy_generator.integers
    shift, places = round(SIDE * a.shift), SIDE - a.hole_size + 1
    flips, moves = list[bool](), list[bool]()
    affine, corners = list[tuple[float, ...]](), list[tuple[int, int]]()

    def happens(p: float) -> bool:
        return p >= 1 or (p > 0 and chance() < p)

    for _ in range(count):
        chance()  # Compose draws for its own probability, which is 1
        flips.append(happens(a.random_flip_p))
        moves.append(happens(a.affine_p))
        if moves[-1]:
            x, y = randint(-shift, shift), randint(-shift, shift)
            uniform(0, 0), uniform(0, 0)  # shear in x and y
            scale, _ = uniform(1 - a.scale, 1 + a.scale), uniform(1 - a.scale, 1 + a.scale)  # keep_ratio: x is y too
            affine.append((x, y, scale, uniform(-a.rotate, a.rotate)))
        else:
            affine.append((0, 0, 1.0, 0.0))
        if happens(a.hole_p):
            randint(1, 1)  # the number of holes
            corners.append((int(integers(0, places)), int(integers(0, places))))
            integers(0, 2**32 - 1)  # the seed of a random fill
        else:
            corners.append((SIDE, SIDE))
    x, y, scale, angle = np.array(affine).T
    radians = np.deg2rad(angle % 360)
    sine, cosine = scale * np.sin(radians), scale * np.cos(radians)
    linear = np.stack([cosine, sine, -sine, cosine], axis=1).reshape(count, 2, 2)
    offset = CENTRE + np.stack([x, y], axis=1) - linear.sum(axis=2) * CENTRE  # rotated about the image's centre
    matrices = np.concatenate([linear, offset[..., None]], axis=2)
    return Draws(np.array(flips), np.array(moves), matrices, np.array(corners))


class Fused:
    """Map uint8 images (N, 32, 32, 3) like Composed, about eight times faster. Raise UserError for other transforms."""

    def __init__(self, a: Augmentation, mean: Sequence[float]) -> None:
        if (found := [type(transform) for transform in composed(a, mean).transforms]) != KNOWN:
            names = ", ".join(each.__name__ for each in found)
            raise UserError(f"augment_with: fused does not know this list of transforms: {names}; use albumentations")
        self.augmentation, self.fill = a, np.array(fill_value(mean), np.uint8)
        # Shifts are by whole pixels, so without scale and rotation the nearest pixel is exact, and faster.
        only_shifts = a.scale == 0 and a.rotate == 0
        self.interpolation = cv2.INTER_NEAREST if only_shifts else cv2.INTER_LINEAR

    def __call__(self, images: NDArray[np.uint8], entropy: Sequence[int]) -> NDArray[np.uint8]:
        flips, moves, matrices, corners = draw(self.augmentation, len(images), entropy)
        result, size = images.copy(), self.augmentation.hole_size
        for i in np.flatnonzero(flips):
            cv2.flip(images[i], 1, result[i])
        for i in np.flatnonzero(moves):
            source = result[i].copy()
            cv2.warpAffine(source, matrices[i], (SIDE, SIDE), result[i], self.interpolation, cv2.BORDER_REFLECT_101)
        for image, (row, column) in zip(result, corners.tolist(), strict=True):
            image[row : row + size, column : column + size] = self.fill
        return result


def augmenter(params: Params, statistics: Statistics) -> Composed | Fused:
    """Return the form that `params` name. It maps uint8 images (N, 32, 32, 3) and entropy to augmented images."""
    form = Fused if params.augment_with == "fused" else Composed
    return form(params.augmentation, statistics.mean)
