"""dataset: pictures: folders become splits; what cannot be read, or would mislead, is refused, one line each."""

import hashlib
import os
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cifar10.core.errors import UserError
from cifar10.pictures.picture import read_picture
from cifar10.pictures.reader import Reader
from cifar10.sources.folders import _name
from cifar10.sources.pictures import read_pictures


@pytest.fixture(scope="module")
def decoder() -> Iterator[Reader]:
    with Reader() as reader:
        yield reader


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: Reader) -> None:
    """One decoder reads for all tests; the last one starts its own."""
    monkeypatch.setattr("cifar10.sources.pictures.physical_cores", lambda: 1)
    monkeypatch.setattr("cifar10.sources.pictures.Reader", lambda: nullcontext(decoder))
    monkeypatch.chdir(tmp_path)


def save(path: str, seed: int, size: tuple[int, int] = (32, 32)) -> NDArray[np.uint8]:
    """Save noise as a file below pictures/."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Path("pictures", path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(Path("pictures", path))
    return pixels


def faults() -> list[str]:
    with pytest.raises(UserError) as error:
        read_pictures("pictures")
    return str(error.value).splitlines()


def fill(*names: str, count: int = 40) -> None:
    for number, name in enumerate(names):
        for i in range(count):
            save(f"{name}/{i:02}.png", 1000 * number + i)


def test_pictures_of_32_pixels_are_unchanged_in_the_order_of_class_and_name() -> None:
    files = product(("train", "test"), ("dog", "ant"), range(3))
    saved = [save(f"{part}/{label}/{i}.png", n) for n, (part, label, i) in enumerate(files)]
    data = read_pictures("pictures")
    assert data.classes == ["ant", "dog"]
    assert np.array_equal(data.train.images, np.stack([*saved[3:6], *saved[:3]]))
    assert np.array_equal(data.test.images, np.stack([*saved[9:], *saved[6:9]]))
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.images.dtype == data.train.labels.dtype == np.uint8


def test_each_picture_is_what_classify_sees() -> None:
    """Upright, its centre square, scaled, transparency on white: by the same function."""
    save("train/cat/wide.png", 1, (90, 60))
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    Image.fromarray(save("train/cat/b.png", 2, (70, 50))).save("pictures/train/cat/turned.jpg", exif=exif)
    Image.new("CMYK", (40, 50), (10, 200, 30, 5)).save("pictures/train/cat/cmyk.jpg")
    Image.new("RGBA", (50, 50), (200, 0, 0, 90)).save("pictures/train/cat/transparent.webp")
    for number, part in enumerate(("train", "test")):
        save(f"{part}/dog/a.png", 10 + number, (64, 64))
    save("test/cat/a.png", 20, (33, 31))
    data = read_pictures("pictures")
    for part, split in (("train", data.train), ("test", data.test)):
        files = sorted(Path("pictures", part).glob("*/*"))
        for path, image in zip(files, split.images, strict=True):
            with path.open("rb") as file:
                assert np.array_equal(image, np.asarray(read_picture(file))), path


def test_a_new_picture_moves_no_other_one_between_the_splits() -> None:
    fill("cat", "dog")
    before = read_pictures("pictures")
    total = len(before.train.labels) + len(before.test.labels)
    assert total == 80
    assert 4 <= len(before.test.labels) <= 30  # a fifth is 16
    # By the content alone, whatever the file and its class are called.
    expected = {
        path.read_bytes(): int(hashlib.sha256(path.read_bytes()).hexdigest()[:15], 16) % 5 == 0
        for path in Path("pictures").glob("*/*")
    }
    assert sum(expected.values()) == len(before.test.labels)
    tests = {image.tobytes() for image in before.test.images}
    for i in range(20):
        save(f"cat/new{i}.png", 5000 + i)
    Path("pictures/cat/00.png").rename("pictures/cat/renamed.png")
    after = read_pictures("pictures")
    assert len(after.train.labels) + len(after.test.labels) == 100
    assert tests <= {image.tobytes() for image in after.test.images}
    assert not tests & {image.tobytes() for image in after.train.images}


def test_a_folder_train_alone_is_split_and_a_class_may_be_called_train() -> None:
    fill("train/cat", "train/dog")
    alone = read_pictures("pictures")
    Path("pictures/train/cat").rename("pictures/cat")
    Path("pictures/train/dog").rename("pictures/dog")
    Path("pictures/train").rmdir()
    same = read_pictures("pictures")
    assert all(np.array_equal(a, b) for a, b in zip(alone.train + alone.test, same.train + same.test, strict=True))
    Path("pictures/cat").rename("pictures/train")  # holds no folders
    assert read_pictures("pictures").classes == ["dog", "train"]


def test_names_in_other_alphabets_and_what_others_leave() -> None:
    names = ["кошка", "犬", unicodedata.normalize("NFD", "é")]
    fill(*names)
    kept = [f"pictures/{name}.dvc" for name in names]
    for left in ("pictures/.gitignore", *kept, "pictures/犬/Thumbs.db", "pictures/犬/.DS_Store"):
        Path(left).write_text("no picture", encoding="utf-8")
    Path("pictures/__MACOSX/犬").mkdir(parents=True)
    assert read_pictures("pictures").classes == ["é", "кошка", "犬"]


def test_names_are_utf8_whatever_the_locale_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsencode", lambda name: name.encode("latin-1"))  # as with LC_ALL=de_DE.ISO-8859-1
    seen: Any = SimpleNamespace(name="é".encode().decode("latin-1"))
    assert _name(seen) == "é"


def test_every_bad_file_is_named_with_its_reason() -> None:
    fill("cat", "dog")
    Path("pictures/cat/notes.txt").write_text("not pixels", encoding="utf-8")
    Path("pictures/cat/empty.png").touch()
    half = Path("pictures/dog/00.png").read_bytes()
    Path("pictures/dog/half.png").write_bytes(half[: len(half) // 2])
    os.mkfifo("pictures/dog/pipe")
    Path("pictures/dog/broken.png").symlink_to("nowhere.png")
    Path("pictures/dog/old").mkdir()
    Path("pictures/stray.png").write_bytes(half)
    Path("pictures/linked").symlink_to("cat")
    Path("pictures/loop").symlink_to("loop")
    lines = faults()
    no_file = "is a broken link, or neither a file nor a folder; delete it"
    link = "is a link to a folder, whose changes DVC does not see; put the folder itself there"
    assert lines[:-3] == [
        f"pictures/dog/broken.png: {no_file}",
        "pictures/dog/old: is a folder in a class's folder; move its pictures up into that",
        f"pictures/dog/pipe: {no_file}",
        f"pictures/linked: {link}",
        f"pictures/loop: {no_file}",
        "pictures/stray.png: is in no class's folder; move it into one, or out of pictures",
    ]
    assert lines[-3] == "pictures/cat/empty.png: is empty"
    assert lines[-2].startswith("pictures/cat/notes.txt: is not a picture; these formats can be read: PNG, JPEG")
    assert lines[-1].startswith("pictures/dog/half.png: cannot be read: it is damaged: ")


def test_advice_that_can_be_followed() -> None:
    fill("train/cat", "train/dog", count=2)
    for name in ("test", "valid/cat"):
        Path("pictures", name).mkdir(parents=True)
    save("loose.png", 9)
    assert faults() == [
        "pictures/loose.png: is in no class's folder; move it into pictures/train/CLASS/, or out of it",
        "pictures/test: has no folders of classes; make them, or delete it",
        "pictures/valid: is beside train; move its pictures into pictures/train/CLASS/",
    ]
    for name in ("test", "valid/cat", "valid"):
        Path("pictures", name).rmdir()
    Path("pictures/loose.png").unlink()
    Path("pictures/train").rename("pictures/Train")
    assert faults() == ["pictures/Train: is called pictures/train if it is a split; rename it"]


def test_dvc_keeps_all_folders_or_none() -> None:
    """A class that DVC does not know would be missing in a temporary experiment, without a word."""
    fill("cat", "dog", "a cow")
    for name in ("cat", "dog"):
        Path(f"pictures/{name}.dvc").touch()
    assert faults() == ["pictures/a cow: is not kept by DVC, as the others are: dvc add 'pictures/a cow'"]
    Path("pictures/a cow.dvc").touch()
    assert len(read_pictures("pictures").classes) == 3


def test_names_of_other_scripts_may_join_letters() -> None:
    fill("نیم\u200cفاصله", "\N{MAN}\u200d\N{WOMAN}", "a\u00a0b")  # noqa: RUF001 # Persian
    assert len(read_pictures("pictures").classes) == 3
    for name in ("x.dvc", "__pycache__", "dvc_plots"):
        Path("pictures", name).mkdir()
    said = "cannot be the name of a class; rename the folder"
    assert faults() == [f"pictures/{name}: {said}" for name in ("__pycache__", "dvc_plots", "x.dvc")]


def test_a_split_that_is_a_link() -> None:
    fill("elsewhere/cat", "elsewhere/dog")
    Path("pictures/elsewhere").rename("elsewhere")
    Path("pictures/train").symlink_to("../elsewhere")
    assert faults() == [
        "pictures/train: is a link to a folder, whose changes DVC does not see; put the folder itself there"
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="a name that macOS refuses")
def test_a_name_that_cannot_be_printed() -> None:
    fill("cat")
    Path("pictures/a\nb").mkdir()
    Image.new("RGB", (32, 32)).save("pictures/a\nb/x.png")
    assert faults() == ["pictures/a\\nb: cannot be the name of a class; rename the folder"]


def test_the_number_of_classes() -> None:
    line = "pictures/: has no folders of pictures; make one for each class, such as pictures/cats/. A temporary or"
    assert faults()[0].startswith(line)
    fill("cat")
    assert faults() == ["pictures/: must have from 2 to 256 folders, one for each class (got 1: cat)"]
    Path("pictures/dog").mkdir()
    assert faults() == ["pictures/dog: has no pictures; add some, or delete the folder"]
    for i in range(256):
        save(f"{i:03}/a.png", i)
    Path("pictures/dog").rmdir()
    assert faults() == ["pictures/: must have from 2 to 256 folders, one for each class (got 257: 000, 001, 002, ...)"]


def test_each_class_needs_pictures_in_both_splits() -> None:
    for i in range(2):
        save(f"train/cat/{i}.png", i)
        save(f"train/dog/{i}.png", 10 + i)
        save(f"test/cat/{i}.png", 20 + i)
    assert faults() == ["pictures/test/dog: has no pictures; add some"]
    save("test/dog/a.png", 30)
    read_pictures("pictures")
    save("test/cow/a.png", 40)
    assert faults() == ["pictures/train/cow: has no pictures; add some"]
    shutil.rmtree("pictures/train")
    assert faults()[0] == "pictures/test: has folders of classes, so pictures/train must have them, too"


def test_a_class_so_small_that_its_content_puts_none_into_a_split() -> None:
    fill("cat", "dog")
    for i in range(5):
        save(f"cow/{i}.png", 7000 + i)
    for path in Path("pictures/cow").iterdir():
        if int(hashlib.sha256(path.read_bytes()).hexdigest()[:15], 16) % 5 == 0:
            path.unlink()  # those for the test
    number = len(list(Path("pictures/cow").iterdir()))
    assert number
    assert faults() == [
        f"pictures/cow: of its {number} pictures, none is in the test split; add some, or choose the splits yourself: "
        "pictures/train/CLASS/ and pictures/test/CLASS/"
    ]


def test_the_same_picture_in_two_places(capsys: pytest.CaptureFixture[str]) -> None:
    for number, part in enumerate(("train", "test")):
        for label in ("cat", "dog"):
            for i in range(3):
                save(f"{part}/{label}/{i}.png", 100 * number + 10 * len(label + part) + i + 5 * (label == "cat"))
    save("train/cat/again.png", 1)
    read_pictures("pictures")
    save("train/cat/once.png", 1)  # in one class and split, so it is only said
    read_pictures("pictures")
    assert "note: 1 pictures are the same as others of their class" in capsys.readouterr().out
    save("test/cat/leaked.png", 1)
    save("train/dog/wrong.png", 1)
    assert faults() == [
        "pictures/train/dog/wrong.png: is the same picture as pictures/train/cat/again.png, of another class; delete "
        "one of them",
        "pictures/test/cat/leaked.png: is the same picture as pictures/train/cat/again.png, in the other split; delete "
        "one of them",
    ]


def test_the_decoders_end_and_the_number_of_cores_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("cat", "dog", count=10)
    save("cat/11.png", 77)
    found = []
    monkeypatch.setattr("cifar10.sources.pictures.Reader", Reader)
    for cores in (1, 4):
        monkeypatch.setattr("cifar10.sources.pictures.physical_cores", lambda cores=cores: cores)
        try:
            found.append(read_pictures("pictures"))
        except UserError as error:  # a class without a test picture
            pytest.fail(str(error))
    assert all(np.array_equal(a, b) for a, b in zip(*(data.train + data.test for data in found), strict=True))
    assert Counter(found[0].train.labels.tolist())[0] > 0
