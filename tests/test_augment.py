import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cifar10.augment import FlipAffineHole, augment_batch, augment_on_device, draw
from cifar10.params import Augmentation, Params

MEAN = [0.2, 0.4, 0.6]
OFF = {"flip_p": 0.0, "affine_p": 0.0, "hole_p": 0.0}


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """200 images whose pixels encode row and column, none of them of the fill colour."""
    row, column = np.mgrid[:32, :32]
    image = np.stack([row + 100, column + 150, np.full((32, 32), 7)], axis=-1)
    return np.repeat(image[None].astype(np.uint8), 200, axis=0)


def augmented(params: Params, images: NDArray[np.uint8], entropy: int = 0, **changes: float) -> NDArray[np.uint8]:
    settings = Augmentation.model_validate(params.augmentation.model_dump() | OFF | changes)
    return augment_batch(FlipAffineHole(settings, MEAN), images, [entropy])


def test_all_off_changes_nothing(params: Params, images: NDArray[np.uint8]) -> None:
    assert np.array_equal(augmented(params, images), images)


def test_hole(params: Params, images: NDArray[np.uint8]) -> None:
    corners = set()
    for image, original in zip(augmented(params, images, hole_p=1.0, hole_size=9), images, strict=True):
        rows, columns = np.nonzero((image != original).any(axis=-1))
        hole = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert hole.shape == (9, 9, 3)  # one square, all of it inside the image
        assert (hole == [51, 102, 153]).all()  # 255 times the mean
        assert len(rows) == 81
        corners.add((rows.min(), columns.min()))
    assert len(corners) > 100  # of the 24 x 24 places, drawn anew for each image


def test_flip(params: Params, images: NDArray[np.uint8]) -> None:
    result = augmented(params, images, flip_p=0.5)
    flipped = np.array([np.array_equal(image, images[0][:, ::-1]) for image in result])
    kept = np.array([np.array_equal(image, images[0]) for image in result])
    assert (flipped ^ kept).all()
    assert 70 < flipped.sum() < 130  # 100 expected, standard deviation 7


def test_affine_moves_but_paints_nothing(params: Params, images: NDArray[np.uint8]) -> None:
    result = augmented(params, images, affine_p=1.0)
    assert not np.array_equal(result[0], result[1])
    assert (result[..., 2] == 7).all()  # the border is reflected: no foreign colour enters
    shifted = augmented(params, images, affine_p=1.0, scale=0.0, rotate=0.0, shift=0.0625)
    moves = {(int(image[16, 16, 0]) - 116, int(image[16, 16, 1]) - 166) for image in shifted}
    assert {max(abs(dy), abs(dx)) for dy, dx in moves} <= {0, 1, 2}  # at most 0.0625 x 32 pixels
    assert len(moves) == 25  # both axes drawn independently, every whole shift possible


def test_transforms_are_drawn_independently(params: Params, images: NDArray[np.uint8]) -> None:
    result = augmented(params, images, flip_p=0.5, hole_p=0.5, hole_size=4)
    flipped = result[:, 0, :, 1].astype(int).argmax(axis=1) < 16  # the brighter end is on the left
    holed = (result == [51, 102, 153]).all(axis=-1).any(axis=(1, 2))
    pairs = {(bool(f), bool(h)): int(((flipped == f) & (holed == h)).sum()) for f in (0, 1) for h in (0, 1)}
    assert all(25 < count < 80 for count in pairs.values()), pairs  # 50 expected of each, never "both or none"


def test_draws_derive_from_the_entropy_alone(params: Params, images: NDArray[np.uint8]) -> None:
    on = {"flip_p": 0.5, "affine_p": 0.5, "hole_p": 0.5}
    first = augmented(params, images, 1, **on)
    assert np.array_equal(first, augmented(params, images, 1, **on))
    for name, probability in on.items():  # each transform by itself, so that none keeps its draws
        alone = {name: probability}
        assert not np.array_equal(augmented(params, images, 1, **alone), augmented(params, images, 2, **alone))


@pytest.fixture
def smooth() -> NDArray[np.uint8]:
    """60 different images without sharp edges: noise, enlarged."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (32, 32), interpolation=cv2.INTER_CUBIC) for image in noise])


def test_equals_the_three_transforms_of_albumentations(params: Params, smooth: NDArray[np.uint8]) -> None:
    """One warp with the hole = HorizontalFlip, Affine and CoarseDropout one after the other, for equal parameters."""
    changes = {"affine_p": 0.8, "rotate": 40.0, "scale": 0.3, "shift": 0.125, "hole_size": 16}
    settings = params.augmentation.model_copy(update=changes)
    matrices, corners = draw(settings, len(smooth), np.random.default_rng([7]))
    results = augment_batch(FlipAffineHole(settings, MEAN), smooth, [7])
    seen = set()
    for image, matrix, (top, left), result in zip(smooth, matrices, corners, results, strict=True):
        linear = matrix[:, :2]
        flipped = np.linalg.det(linear) < 0
        scale = np.sqrt(abs(np.linalg.det(linear)))
        angle = np.rad2deg(np.arctan2(linear[0, 1], linear[1, 1]))
        shift = matrix[:, 2] + linear @ [15.5, 15.5] - 15.5
        x, y = np.round(shift).astype(int).tolist()
        np.testing.assert_allclose(shift, [x, y], atol=1e-9)
        assert max(abs(x), abs(y)) <= 4
        assert 0.7 <= scale <= 1.3
        assert abs(angle) <= 40
        affine = A.Affine(
            translate_px={"x": (x, x), "y": (y, y)},
            scale=(scale, scale),
            keep_ratio=True,
            rotate=(angle, angle),
            border_mode=cv2.BORDER_REFLECT_101,
            p=1.0,
        )
        expected = A.Compose([A.HorizontalFlip(p=float(flipped)), affine], strict=True)(image=image)["image"]
        if top < 32:
            dropout = A.CoarseDropout(fill=(51, 102, 153), p=1.0)
            expected = dropout.apply(expected, holes=np.array([[left, top, left + 16, top + 16]]), seed=0)
        # One unit of the fixed-point coordinates, where they are rounded differently.
        assert np.abs(result.astype(int) - expected).max() <= 2
        seen.add((bool(flipped), abs(angle) > 0, top < 32))
    assert len(seen) == 8  # every combination of the three occurred


def test_on_device_is_the_same_augmentation(params: Params, smooth: NDArray[np.uint8]) -> None:
    on_cpu = augment_batch(FlipAffineHole(params.augmentation, MEAN), smooth, [3])
    draws = draw(params.augmentation, len(smooth), np.random.default_rng([3]))
    fill = torch.tensor([51, 102, 153], dtype=torch.uint8)
    on_device = augment_on_device(torch.from_numpy(smooth), draws, params.augmentation.hole_size, fill).numpy()
    assert on_device.shape == smooth.shape
    assert on_device.dtype == np.uint8
    assert np.abs(on_device.astype(int) - on_cpu).max() <= 3  # coordinates in steps of 1/32 pixel there, exact here
    exact = (np.abs(draws.matrices[:, 0, 0]) == 1) & (draws.matrices[:, 0, 1] == 0)  # no scale, no rotation
    assert exact.sum() > 10
    assert np.array_equal(on_device[exact], on_cpu[exact])


def test_draws_fill_their_ranges(params: Params) -> None:
    """Uniform in every parameter: mean and standard deviation of 20,000 draws, to about four standard errors."""
    settings = params.augmentation.model_copy(update={"hole_size": 16})
    matrices, corners = draw(settings, 20_000, np.random.default_rng(0))
    linear = matrices[:, :, :2]
    moved = np.abs(linear[:, 0, 0]) != 1
    assert abs(moved.mean() - 0.5) < 0.015
    scale = np.sqrt(np.abs(np.linalg.det(linear[moved])))
    angle = np.rad2deg(np.arctan2(linear[moved][:, 0, 1], linear[moved][:, 1, 1]))
    for values, width in ((scale - 1, 0.1), (angle, 15.0)):
        assert abs(values.mean()) < 0.025 * width
        assert abs(values.std() / width - 1 / np.sqrt(3)) < 0.015
        assert abs(np.abs(values).max() / width - 1) < 0.01
    holed = corners[:, 0] < 32
    assert abs(holed.mean() - 0.5) < 0.015
    assert np.array_equal(np.unique(corners[holed]), np.arange(17))  # every place where 16 of 32 pixels fit
    assert abs(corners[holed].mean() - 8) < 0.2
