"""Read folders of pictures, one for each class, exactly as `cifar10 classify` reads pictures."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from tqdm import tqdm

from cifar10.core import SIDE
from cifar10.core.data import Dataset, Split
from cifar10.core.errors import UserError
from cifar10.core.files import file_digest
from cifar10.machine.cores import physical_cores
from cifar10.pictures import printable
from cifar10.pictures.reader import Reader
from cifar10.sources.folders import Found, Picture

TEST_SHARE = 5  # every fifth picture, by its content


def read_pictures(name: str) -> Dataset:
    """Return the pictures in `name`/CLASS, or in `name`/train/CLASS and `name`/test/CLASS.

    Without `name`/test, about a fifth of each class is the test split. The content of a file alone decides where it
    belongs, so a new picture moves no other one. Raise UserError, which lists every fault, one line each.
    """
    folder = Found(Path(name))
    found, faults = folder.pictures, folder.faults
    classes = sorted({picture.label for picture in found})
    # A file may be unreadable as well, so these faults come together with those of the folders.
    images, digests = np.empty((len(found), SIDE, SIDE, 3), np.uint8), list[str]()
    for i, (digest, pixels, reason) in enumerate(_read([picture.path for picture in found])):
        digests.append(digest)
        if reason:
            faults.append(f"{printable(str(found[i].path))}: {reason}")
        else:
            images[i] = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3)
    if not faults:
        parts = [picture.part or _part(digest) for picture, digest in zip(found, digests, strict=True)]
        faults = [*_twice(found, parts, digests), *_without_pictures(found, parts)]
    if faults:
        raise UserError("\n".join(faults))
    labels = np.array([classes.index(picture.label) for picture in found], np.uint8)
    if copies := len(digests) - len(set(digests)):
        print(f"note: {copies:,} pictures are the same as others of their class, so a validation split may share some")
    train = np.array(parts) == "train"
    print(f"{len(classes)} classes: {train.sum():,} training and {(~train).sum():,} test pictures", flush=True)
    return Dataset(Split(images[train], labels[train]), Split(images[~train], labels[~train]), classes)


def _read(paths: list[Path], at_once: int = 1000) -> Iterator[tuple[str, bytes, str]]:
    """Yield the sha256 and the pixels of each file, or why it cannot be read, on all cores."""
    count = min(physical_cores(), len(paths))
    free = SimpleQueue[Reader]()

    def read(path: Path) -> tuple[str, bytes, str]:
        reader = free.get()
        try:
            pixels = reader.read(str(path), pipe=False)
            return file_digest(path), pixels, ""
        except (UserError, OSError) as error:
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            return "", b"", reason
        finally:
            free.put(reader)

    with ExitStack() as stack, tqdm(total=len(paths), unit=" pictures", disable=None) as bar:  # only on a terminal
        for _ in range(count):
            free.put(stack.enter_context(Reader()))
        pool = ThreadPoolExecutor(max(1, count))
        stack.callback(pool.shutdown, cancel_futures=True)  # before the readers end
        for start in range(0, len(paths), at_once):
            for result in pool.map(read, paths[start : start + at_once]):
                yield result
                bar.update()


def _part(digest: str) -> str:
    return "train" if int(digest[:15], 16) % TEST_SHARE else "test"


def _twice(found: list[Picture], parts: list[str], digests: list[str]) -> Iterator[str]:
    """Yield a line for each file whose bytes are also those of a picture of another class or in the other split."""
    first = dict[str, int]()
    for i, digest in enumerate(digests):
        other = first.setdefault(digest, i)
        where = ", of another class" * (found[i].label != found[other].label)
        where += ", in the other split" * (parts[i] != parts[other])
        if where:
            names = [printable(str(found[each].path)) for each in (i, other)]
            yield f"{names[0]}: is the same picture as {names[1]}{where}; delete one of them"


def _without_pictures(found: list[Picture], parts: list[str]) -> Iterator[str]:
    """Yield a line for each class that has no picture in one of the splits."""
    have = {(picture.label, part) for picture, part in zip(found, parts, strict=True)}
    for label, folder in {picture.label: picture.path.parent for picture in found}.items():
        for part in ("train", "test"):
            if (label, part) in have:
                continue
            if any(picture.part for picture in found):
                yield f"{printable(str(folder.parent.parent / part / folder.name))}: has no pictures; add some"
            else:
                number = sum(picture.label == label for picture in found)
                yield (
                    f"{printable(str(folder))}: of its {number} pictures, none is in the {part} split; add some, or "
                    "choose the splits yourself: pictures/train/CLASS/ and pictures/test/CLASS/"
                )
