"""Find pictures in folders, one for each class, and say what is out of place."""

import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from cifar10.core.errors import UserError
from cifar10.pictures import printable

LEFT = re.compile(r".+\.dvc|Thumbs\.db|desktop\.ini")  # by DVC and file managers
LINK = "is a link to a folder, whose changes DVC does not see; put the folder itself there"
MOST_CLASSES = 256  # a label is a uint8


class Picture(NamedTuple):
    path: Path
    part: str  # "train", "test", or "" if its content decides
    label: str


def find_pictures(folder: Path) -> tuple[list[Picture], list[str]]:
    """Return the pictures in the order of their classes and names, and a line for each fault.

    They are in `folder`/CLASS, or in `folder`/train/CLASS and `folder`/test/CLASS. Raise UserError if there is none.
    """
    faults = list[str]()
    split = [part for part in ("train", "test") if any(entry.is_dir() for entry in _entries(folder / part))]
    for entry in _entries(folder) if split else []:
        if entry.name not in split:
            faults.append(f"{printable(entry.path)}: is beside {folder / split[0]}; move it into a class's folder")
        elif entry.is_symlink():
            faults.append(f"{printable(entry.path)}: {LINK}")
    if split == ["test"]:
        faults.append(f"{folder}/test: has folders of classes, so {folder}/train must have them, too")
    found = list[Picture]()
    for part in split or [""]:
        names = set[str]()
        for entry in _entries(folder / part):
            where, name = printable(entry.path), _name(entry)
            if not entry.is_dir():
                faults.append(f"{where}: is in no class's folder; move it into one")
            elif entry.is_symlink():
                faults.append(f"{where}: {LINK}")
            elif name in names or not name.isprintable():
                faults.append(f"{where}: is the name of another class, or cannot be one; rename the folder")
            else:
                names.add(name)
                found += _of_class(Path(entry.path), part if "test" in split else "", name, faults)
    if not faults:
        _check_classes(folder, sorted({picture.label for picture in found}))
    return found, faults


def _of_class(folder: Path, part: str, label: str, faults: list[str]) -> list[Picture]:
    entries = _entries(folder)
    for entry in entries:
        if entry.is_dir():
            faults.append(f"{printable(entry.path)}: is a folder in a class's folder; move its pictures up into that")
    if not entries:
        faults.append(f"{printable(str(folder))}: has no pictures; add some, or delete the folder")
    return [Picture(Path(entry.path), part, label) for entry in entries if not entry.is_dir()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name, but hidden files and those that DVC and file managers leave there."""
    try:
        with os.scandir(folder) as found:
            kept = [entry for entry in found if not entry.name.startswith(".") and not LEFT.fullmatch(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
    return sorted(kept, key=lambda entry: (_name(entry), entry.name))


def _name(entry: os.DirEntry[str]) -> str:
    return unicodedata.normalize("NFC", entry.name)  # macOS may write é as two characters


def _check_classes(folder: Path, classes: list[str]) -> None:
    if not classes:
        raise UserError(
            f"{folder}/: has no folders of pictures; make one for each class, such as {folder}/cats/. A temporary or "
            f"queued experiment has only those that DVC knows: dvc add {folder}/*"
        )
    if not 2 <= len(classes) <= MOST_CLASSES:
        names = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        raise UserError(
            f"{folder}/: must have from 2 to {MOST_CLASSES} folders, one for each class (got {len(classes)}: {names})"
        )
