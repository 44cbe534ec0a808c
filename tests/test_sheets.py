"""The sheets show what they say, and every pixel of an image as a whole square."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from cifar10.core.data import Split, Statistics
from cifar10.core.params import Execution, Params
from cifar10.drawing.network import network_sheet
from cifar10.drawing.png import BLUE, ORANGE, legible, png
from cifar10.drawing.samples import augmented_samples, clearest
from cifar10.drawing.sheet import Cell, sheet
from cifar10.drawing.test_images import Predictions, confident_mistakes, example_images
from cifar10.network.model import LAYERS, Geometry, Layer, Net


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


def test_every_place_in_pixels() -> None:
    image = np.zeros((5, 5, 3), np.uint8)
    rows = [[Cell(image, "one\ntwo", "red"), Cell(image, "x")], [Cell(image)]]
    figure = sheet(rows, "T", "S", ["a row", "b"], ["c", "d"], zoom=4)
    # Across: 12, labels of 5 letters, 8 each, 10; then 20 + 20 for each image, the last gap only 12.
    # Down: 12, two lines of 13, the subtitle 13 + 4, the column labels 13 + 4; then 20, two lines of 13, 10.
    assert (figure.get_size_inches() * figure.dpi).tolist() == pytest.approx([62 + 2 * 40 + 2, 72 + 2 * 56 + 2])
    places = [("T", 12, 10), ("S", 12, 31.5), ("c", 72, 55), ("d", 112, 55), ("a row", 52, 75.5)]
    places += [("one", 72, 98), ("two", 72, 111), ("x", 112, 95), ("b", 52, 131.5), ("", 72, 151)]
    assert [text.get_text() for text in figure.texts] == [name for name, *_ in places]
    found = [(text.get_position()[0] * 144, (1 - text.get_position()[1]) * 186) for text in figure.texts]
    assert found == [pytest.approx(place) for _, *place in places]
    assert [text.get_fontsize() for text in figure.texts[::5]] == [11, 7.5]
    for title, subtitle, width in (("T" * 40, "S" * 49, 24 + 7 * 50), ("T" * 40, "S" * 51, 24 + 7 * 51)):
        plain = sheet([[Cell(image)]], title, subtitle)
        assert (plain.get_size_inches() * 100).tolist() == pytest.approx([width, 12 + 26 + 17 + 15 + 12])
    assert (sheet([[Cell(image)] * 9], "T").get_size_inches() * 100).tolist() == pytest.approx([239, 65])


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Cell]]:
    """The rows of the sheets that are drawn."""
    found = list[Sequence[Cell]]()

    def noted(rows: Sequence[Sequence[Cell]], *rest: Any) -> Figure:
        found.extend(rows)
        return sheet(rows, *rest)

    for module in ("cifar10.drawing.test_images", "cifar10.drawing.samples"):
        monkeypatch.setattr(f"{module}.sheet", noted)
    return found


def predictions(count: int, wrong: Sequence[int]) -> Predictions:
    """`count` numbered images that are all taken for dogs, `wrong` of them by mistake; the 70th most confidently."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 32, 32, 3))
    actual = np.where(np.isin(np.arange(count), wrong), 0, 1)
    confidence = 0.9 - np.abs(np.arange(count) - 70) / 1000
    return Predictions(images, actual, np.ones(count, int), confidence, ["cat", "dog"])


@pytest.mark.parametrize("wrong", [[], [3, 60, 90], range(25, 85)])
def test_mistakes_shows_the_most_confident_first(wrong: Sequence[int], cells: list[Sequence[Cell]]) -> None:
    made = predictions(100, wrong)
    figure = confident_mistakes(made)
    shown = sorted(wrong, key=lambda i: (abs(i - 70), i))[:24]
    assert texts(figure)[2:] == [text for i in shown for text in (f"dog {made.confidence[i]:.1%}", f"label: cat\n#{i}")]
    assert [cell.image.max() for row in cells for cell in row] == shown
    assert [len(row) for row in cells] == ([8, 8, 8] if len(wrong) > 24 else [3] if wrong else [])
    many = f"The {len(shown)} most confident of {len(wrong)} mistakes"
    assert texts(figure)[0] == {0: "No mistakes", 1: "The only mistake"}.get(len(wrong), many)


def test_the_examples_are_always_the_same(cells: list[Sequence[Cell]]) -> None:
    made = predictions(250, [220, 230])
    figure = example_images(made)
    assert texts(figure)[0] == "24 test images, always the same: 22 right (blue), 2 wrong (orange)"
    shown = [10 * i for i in range(24)]
    captions = [text for i in shown for text in (f"dog {made.confidence[i]:.0%}", *["label: cat"] * (i in (220, 230)))]
    assert texts(figure)[2:] == captions
    expected = [(i, ORANGE if i in (220, 230) else BLUE) for i in shown]
    assert [(cell.image.max(), cell.frame) for row in cells for cell in row] == expected
    assert len(example_images(predictions(5, [])).texts) == 2 + 5  # no more than there are


def test_the_clearest_image_is_the_one_that_stands_out() -> None:
    """The centre (from 8 pixels on) against the border (4 pixels) and twice its deviation; the ring between is free."""
    checks = 2 * (np.indices((32, 32)).sum(0)[..., None] % 2) - 1

    def picture(difference: int, border: int = 0, ring: int = 0, side: int = 8) -> Any:
        made = (20 + border * checks).repeat(3, axis=2).astype(np.uint8)
        made[4:-4, 4:-4] = (20 + ring * checks)[4:-4, 4:-4]
        made[side:-side, side:-side] = 20 + difference
        return made

    best = picture(140, border=2, ring=20)  # 140 - 2 * 2 = 136
    # Less by the definition, more where one of its numbers is another.
    others = [picture(135), picture(160, border=15), picture(135, side=7)]
    for line in (np.s_[3], np.s_[-4], np.s_[:, 3], np.s_[:, -4]):
        others.append(picture(190))
        others[-1][line] = (127 + 127 * checks)[line]
    for line in (np.s_[8], np.s_[-9], np.s_[:, 8], np.s_[:, -9]):
        others.append(picture(140))
        others[-1][line] = 20
    images = np.stack([*others, best, *others, best // 2])
    chosen = clearest(Split(images, np.array([0] * 12 + [3] * 12, np.uint8)))
    assert chosen.labels.tolist() == [0, 3]
    assert np.array_equal(chosen.images, images[[11, 12]])
    late = np.stack([*[others[0]] * 50, best])  # of the first 50
    assert np.array_equal(clearest(Split(late, np.zeros(51, np.uint8))).images, late[:1])


def test_each_transform_is_shown_alone(params: Params, cells: list[Sequence[Cell]]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    split, statistics = Split(images, np.array([0, 1], np.uint8)), Statistics([0.4] * 3, [0.25] * 3)
    figure = augmented_samples(split, ["cat", "dog"], statistics, params, [0, 1])
    labels = ["plain", "flip", "shift", "hole", *["as in training"] * 4, "cat", "dog"]
    assert [text for text in texts(figure)[2:] if text] == labels
    for row, image in zip(cells, images, strict=True):
        plain, flip, affine, hole, *trained = (cell.image for cell in row)
        assert np.array_equal(plain, image)
        assert np.array_equal(flip, image[:, ::-1])
        assert not np.array_equal(affine, image)
        assert (hole != image).any(axis=2).sum() <= 64
        assert (hole[(hole != image).any(axis=2)] == 102).all()  # the mean, 0.4 * 255
        assert len({picture.tobytes() for picture in trained}) == 4
    # Flips alternate: each image is mirrored in two of the four.
    still = params.augmentation.model_copy(update={"affine_p": 0.0, "hole_p": 0.0, "flip": "alternate"})
    changed = params.model_copy(update={"augmentation": still})
    augmented_samples(split, ["cat", "dog"], statistics, changed, [0, 1])
    for row, image in zip(cells[2:4], images, strict=True):
        assert len(row) == 6  # no column for what is off
        mirrored = [not np.array_equal(cell.image, image) for cell in row[2:]]
        assert mirrored in ([True, False] * 2, [False, True] * 2)
        assert all(np.array_equal(cell.image, image[:, ::-1]) for cell, m in zip(row[2:], mirrored, strict=True) if m)
    # A sheet of some rows shows the same images.
    turned = params.model_copy(update={"augmentation": params.augmentation.model_copy(update={"rotate": 10.0})})
    assert "affine" in texts(augmented_samples(split, ["cat", "dog"], statistics, turned, [1]))
    augmented_samples(split, ["cat", "dog"], statistics, params, [1])
    assert [cell.image.tobytes() for cell in cells[-1]] == [cell.image.tobytes() for cell in cells[1]]


def sides(execution: Execution) -> list[int]:
    """Side of each layer's output."""
    found = [32]
    for layer in LAYERS:
        stride, dilation, before, after = getattr(layer, execution)
        found.append((found[-1] + before + after - 2 * dilation - 1) // stride + 1)
    return found[1:]


def test_names_that_a_picture_cannot_show() -> None:
    """A letter that the font lacks would be an empty box, and a long name would run into the next picture."""
    assert legible(["кот", "犬", "automobile", "$x$", "a very long name of a class"]) == [
        *("кот", "class 1", "automobile", "$x$", "a very lo…")
    ]
    assert legible(["american_bulldog", "american_pit_bull", "beagle"]) == ["class 0", "class 1", "beagle"]
    assert legible(["class 1", "犬"]) == ["class 0", "class 1"]


def test_the_network_is_described_as_it_is() -> None:
    torch.manual_seed(0)
    network, picture = Net("dense", dropout=0.0, classes=10).eval(), np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)
    figure = network_sheet(network, picture)
    fields, *rest = (axis for sub in figure.subfigs for axis in sub.axes)
    maps, filters = rest[:6], rest[6:]
    assert np.array_equal(fields.images[0].get_array(), picture)  # type: ignore[arg-type]
    labels = ["conv3: 7", "conv5: 27", "conv7: 51", "conv9: 99", "average: 115"]
    assert [text.get_text() for text in fields.texts] == labels
    boxes = [patch.get_bbox().extents.tolist() for patch in fields.patches]  # type: ignore[attr-defined]
    assert boxes == [[16 - side / 2] * 2 + [16 + side / 2] * 2 for side in (7, 27, 51, 99, 115)]
    # The positions that reach the logits are those of the lattice.
    dense, lattice = sides("dense"), sides("lattice")
    names = [layer.name for layer in LAYERS]
    shown = [names.index(name) for name in ("conv3", "transition1", "conv4", "conv5", "transition2", "conv7")]
    for axis, i in zip(maps, shown, strict=True):
        assert axis.get_title() == f"{names[i]}: {lattice[i] ** 2} of {dense[i] ** 2}"
        reached = np.asarray(axis.images[0].get_array())
        assert reached.shape == (dense[i], dense[i])
        assert len(axis.get_xticks(minor=True)) == len(axis.get_yticks(minor=True)) == dense[i] + 1  # its grid
        assert reached.any(0).sum() == reached.any(1).sum() == lattice[i]
    for axis, weight in zip(filters, network.get_parameter("features.conv1.conv.weight").detach().numpy(), strict=True):
        stretched = (weight - weight.min()) / (weight.max() - weight.min())
        assert np.array_equal(axis.images[0].get_array(), stretched.transpose(1, 2, 0))  # type: ignore[arg-type]


def test_another_network_is_described_too(monkeypatch: pytest.MonkeyPatch) -> None:
    half = Geometry(stride=2)
    layers = (Layer("first", "conv", 3, 8), Layer("second", "conv", 8, 12, half, half), Layer("third", "conv", 12, 9))
    monkeypatch.setattr("cifar10.network.model.LAYERS", layers)
    figure = network_sheet(Net("dense", 0.0, classes=4).eval(), np.zeros((32, 32, 3), np.uint8))
    fields, *rest = (axis for sub in figure.subfigs for axis in sub.axes)
    assert [text.get_text() for text in fields.texts] == ["third: 9", "average: 39"]
    assert [axis.get_title().partition(":")[0] for axis in rest[:6]] == ["first", "second", "third", "", "", ""]
    assert [len(axis.images) for axis in rest[6:]] == [1] * 8 + [0] * 8
