import numpy as np
import pytest
from numpy.typing import NDArray

from cifar10.augment import augment_batch, build_augmentation
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
    return augment_batch(build_augmentation(settings, MEAN), images, [entropy])


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
