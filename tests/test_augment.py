import albumentations as A
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cifar10.augmentation.fused import Fused, draw
from cifar10.augmentation.transforms import Composed, composed, fill_value
from cifar10.core.errors import UserError
from cifar10.core.params import Params

MEAN = [0.2, 0.4, 0.6]
ALL = {"flip": "random", "flip_p": 0.5, "affine_p": 0.5, "shift": 0.0625, "scale": 0.1, "rotate": 15.0, "hole_p": 0.5}


@pytest.fixture
def smooth() -> NDArray[np.uint8]:
    """60 different images without sharp edges: noise, enlarged."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (32, 32), interpolation=cv2.INTER_CUBIC) for image in noise])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"flip_p": 1.0, "affine_p": 0.0, "hole_p": 1.0},
        {"flip_p": 0.0, "affine_p": 1.0, "hole_p": 0.0},
        {"affine_p": 0.8, "rotate": 180.0, "scale": 0.5, "shift": 0.25, "hole_size": 16},
        {"affine_p": 1.0, "rotate": 0.0, "scale": 0.0, "hole_size": 1},
        {"affine_p": 1.0, "rotate": 1.0, "scale": 0.0, "shift": 0.0},
        {"affine_p": 1.0, "shift": 0.0, "hole_p": 1.0, "hole_size": 32},
    ],
)
def test_fused_gives_the_pixels_of_albumentations(
    params: Params, smooth: NDArray[np.uint8], changes: dict[str, float]
) -> None:
    settings = params.augmentation.model_copy(update=ALL | changes)
    expected, fused = Composed(settings, MEAN), Fused(settings, MEAN)
    noise = np.random.default_rng(1).integers(0, 256, smooth.shape, dtype=np.uint8)
    for entropy in ([7], [0, 1, 5], [2**32 - 1, 34, 356]):
        for images in (smooth, noise):
            result = expected(images, entropy)
            assert not np.array_equal(result, images)
            assert np.array_equal(fused(images, entropy), result)


def test_the_specification_is_the_list_that_one_extends(params: Params, smooth: NDArray[np.uint8]) -> None:
    settings = params.augmentation.model_copy(update={"flip": "random", "flip_p": 1.0, "affine_p": 0.0, "hole_p": 0.0})
    transform = composed(settings, MEAN)
    assert fill_value(MEAN) == (51, 102, 153)  # 255 times as much
    assert transform.strict  # an argument that albumentations does not know is an error
    assert [type(each) for each in transform.transforms] == [A.HorizontalFlip, A.Affine, A.CoarseDropout]
    extended = Composed(settings, MEAN)
    extended.transform = A.Compose([*transform.transforms, A.InvertImg(p=1.0)], strict=True)
    assert np.array_equal(extended(smooth, [0]), 255 - smooth[:, :, ::-1])


def test_fused_refuses_a_list_that_it_does_not_know(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    longer = A.Compose([*composed(params.augmentation, MEAN).transforms, A.InvertImg(p=1.0)])
    monkeypatch.setattr("cifar10.augmentation.fused.composed", lambda *_: longer)
    with pytest.raises(UserError, match=r"^augment_with: fused does not know this list .*, InvertImg; use albumentat"):
        Fused(params.augmentation, MEAN)


def test_draws_fill_their_ranges(params: Params) -> None:
    """Uniform in every parameter: mean and standard deviation of 20,000 draws, to about four standard errors."""
    chances = {"flip_p": 0.2, "affine_p": 0.6, "hole_p": 0.7}
    settings = params.augmentation.model_copy(update=ALL | chances | {"hole_size": 16})
    flips, moves, matrices, corners = draw(settings, 20_000, [0])
    holed = corners[:, 0] < 32
    assert [each.mean() for each in (flips, moves, holed)] == pytest.approx(list(chances.values()), abs=0.015)
    assert (matrices[~moves] == np.eye(2, 3)).all()
    linear = matrices[moves][:, :, :2]
    scale = np.sqrt(np.linalg.det(linear))
    angle = np.rad2deg(np.arctan2(linear[:, 0, 1], linear[:, 1, 1]))
    for values, width in ((scale - 1, 0.1), (angle, 15.0)):
        assert abs(values.mean()) < 0.025 * width
        assert abs(values.std() / width - 1 / np.sqrt(3)) < 0.015
        assert abs(np.abs(values).max() / width - 1) < 0.01
    shift = matrices[moves][:, :, 2] + linear @ [15.5, 15.5] - 15.5
    assert np.unique(np.round(shift, 9)).tolist() == [-2, -1, 0, 1, 2]
    assert np.array_equal(np.unique(corners[holed]), np.arange(17))  # every place where 16 of 32 pixels fit
    assert abs(corners[holed].mean() - 8) < 0.2
