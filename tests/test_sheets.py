"""The sheets show what they say, and every pixel of an image as a whole square."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.table import Table
from PIL import Image

from cifar10.core.data import Split, Statistics
from cifar10.core.params import Params
from cifar10.drawing.png import png
from cifar10.drawing.sheet import Cell, sheet
from cifar10.evaluation.sheets import Predictions, confident_mistakes, example_images
from cifar10.network.model import LAYERS, Net
from cifar10.training.network_sheet import network_sheet
from cifar10.training.samples import augmented_samples, clearest


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_every_pixel_is_a_whole_square() -> None:
    image = np.random.default_rng(0).integers(0, 250, (5, 5, 3), np.uint8)
    image[0, 0], image[3, 1] = (1, 2, 3), (4, 5, 6)
    data = png(lambda: sheet([[Cell(image, "caption", "red"), Cell(image)]], "title", row_labels=["a row"], zoom=4))
    found = np.asarray(Image.open(io.BytesIO(data)))
    (y, x), (other_y, other_x) = (np.argwhere((found == colour).all(axis=2))[0] for colour in ((1, 2, 3), (4, 5, 6)))
    assert (other_y - y, other_x - x) == (3 * 4, 4)
    enlarged = image.repeat(4, axis=0).repeat(4, axis=1)
    assert np.array_equal(found[y : y + 20, x : x + 20], enlarged)
    assert (found[y - 3, x - 3 : x + 23] == (255, 0, 0)).all()  # the frame
    assert len(np.argwhere((found == (1, 2, 3)).all(axis=2))) == 2 * 16


@pytest.mark.parametrize("mistakes", [0, 3, 60])
def test_mistakes_shows_the_most_confident_first(mistakes: int) -> None:
    images, actual = np.zeros((100, 32, 32, 3), np.uint8), np.zeros(100, int)
    predicted = (np.arange(100) < mistakes).astype(int)
    confidence = np.linspace(0.3, 0.9, 100)
    figure = confident_mistakes(Predictions(images, actual, predicted, confidence, ["cat", "dog"]))
    shown = sorted(range(mistakes), reverse=True)[:24]
    assert texts(figure)[2:] == [f"dog {confidence[i]:.1%}\nlabel: cat\n#{i}" for i in shown]
    assert texts(figure)[0] == f"The {len(shown)} most confident of {mistakes} mistakes"
    assert png(lambda: figure)


def test_the_examples_are_always_the_same() -> None:
    images, actual = np.zeros((240, 32, 32, 3), np.uint8), np.zeros(240, int)
    predicted, confidence = np.arange(240) // 220, np.arange(240) / 1000
    figure = example_images(Predictions(images, actual, predicted, confidence, ["cat", "dog"]))
    assert texts(figure)[0] == "24 test images, always the same: 22 right (blue), 2 wrong (orange)"
    expected = [f"cat {i / 100:.0%}" for i in range(22)] + [f"dog {i / 100:.0%}\nlabel: cat" for i in (22, 23)]
    assert texts(figure)[2:] == expected


def test_the_clearest_image_is_the_one_that_stands_out() -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8)
    images[[1, 5]] = 10
    images[[1, 5], 8:-8, 8:-8] = 200
    chosen = clearest(Split(images, np.array([0, 0, 0, 2, 2, 2], np.uint8)))
    assert chosen.labels.tolist() == [0, 2]
    assert np.array_equal(chosen.images, images[[1, 5]])
    assert np.array_equal(clearest(Split(images, np.zeros(6, np.uint8)), candidates=1).images, images[:1])


def test_each_transform_is_shown_alone(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[Sequence[Sequence[Cell]]]()

    def noted(rows: Sequence[Sequence[Cell]], *rest: Any) -> Figure:
        seen.append(rows)
        return sheet(rows, *rest)

    monkeypatch.setattr("cifar10.training.samples.sheet", noted)
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    split, statistics = Split(images, np.array([0, 1], np.uint8)), Statistics([0.4] * 3, [0.25] * 3)
    figure = augmented_samples(split, ["cat", "dog"], statistics, params)
    assert texts(figure)[2:10] == ["plain", "flip", "affine", "hole", *["as in training"] * 4]
    assert texts(figure)[10] == "cat"
    for row, image in zip(seen[0], images, strict=True):
        plain, flip, affine, hole = (cell.image for cell in row[:4])
        assert np.array_equal(plain, image)
        assert np.array_equal(flip, image[:, ::-1])
        assert not np.array_equal(affine, image)
        assert (hole != image).any(axis=2).sum() <= 64
        assert (hole[(hole != image).any(axis=2)] == 102).all()  # the mean, 0.4 * 255


@pytest.mark.parametrize("execution", ["lattice", "dense"])
def test_the_network_is_described_as_it_is(execution: Any) -> None:
    torch.manual_seed(0)
    figure = network_sheet(Net(execution, dropout=0.1), np.zeros((32, 32, 3), np.uint8))
    axes = [axis for sub in figure.subfigs for subsub in sub.subfigs for axis in subsub.axes]
    # The positions that reach the logits are those of the lattice, whose maps the table in model.py has.
    sides, side = {}, 32
    for layer in LAYERS:
        stride, dilation, before, after = layer.lattice
        side = (side + before + after - 2 * dilation - 1) // stride + 1
        sides[layer.name] = side
    shown = [axis.get_title() for axis in axes if " of " in axis.get_title()]
    assert len(shown) == 6
    for title in shown:
        name, count = title.split(": ")
        assert int(count.split(" of ")[0]) == sides[name] ** 2
    (table,) = (child for axis in axes for child in axis.get_children() if isinstance(child, Table))
    last = [
        cell.get_text().get_text() for (row, _), cell in sorted(table.get_celld().items()) if row == len(LAYERS) + 3
    ]
    assert last == ["all", "", "189,376", "44,586,928", "15,722,416", ""]
