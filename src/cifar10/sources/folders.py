"""Find pictures in folders, one for each class, and say what is out of place."""

import os
import unicodedata
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from cifar10.core.errors import UserError
from cifar10.pictures import printable

LEFT = ("Thumbs.db", "desktop.ini", "__MACOSX")  # by file managers
IGNORED = ("__pycache__", "dvc_plots")  # by DVC, see .dvcignore
SPLITS = ("train", "test")
UNNAMEABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of control codes, invalid bytes and line ends
MOST_CLASSES = 256  # a label is a uint8
LINK = "is a link to a folder, whose changes DVC does not see; put the folder itself there"
NO_FILE = "is a broken link, or neither a file nor a folder; delete it"


class Picture(NamedTuple):
    path: Path
    part: str  # "train", "test", or "" if its content decides
    label: str


class Found:
    """Hold the pictures below `folder`, in the order of their classes and names, and a line for each fault.

    They are in `folder`/CLASS, or in `folder`/train/CLASS and `folder`/test/CLASS. Raise UserError if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.pictures, self.faults = folder, list[Picture](), list[str]()
        top = self._entries(folder)
        split = [entry.name for entry in top if entry.name in SPLITS and any(map(_is_folder, self._entries(entry)))]
        for entry in top if split else []:
            self._check_beside(entry, split)
        for part in [part for part in SPLITS if part in split] or [""]:
            self._add_classes(folder / part, part if "test" in split else "")
        kept = {path.stem for path in folder.glob("*.dvc") if path.is_file()}
        for entry in top:
            if kept and _is_folder(entry) and entry.name not in kept:
                self._fault(entry, f"is not kept by DVC, as the others are: dvc add {quote(printable(entry.path))}")
        if not self.faults:
            self._check_classes(sorted({picture.label for picture in self.pictures}))

    def _fault(self, where: "os.DirEntry[str] | Path", what: str) -> None:
        self.faults.append(f"{printable(os.fspath(where))}: {what}")

    def _check_beside(self, entry: "os.DirEntry[str]", split: list[str]) -> None:
        """Report what is beside the folders train and test, or lacks in them."""
        if entry.name in split:
            if entry.is_symlink():
                self._fault(entry, LINK)
            if split == ["test"]:
                self._fault(entry, f"has folders of classes, so {self.folder}/train must have them, too")
        elif entry.name in SPLITS:
            self._fault(entry, "has no folders of classes; make them, or delete it")
        elif _is_folder(entry):
            self._fault(entry, f"is beside {split[0]}; move its pictures into {self.folder}/{split[0]}/CLASS/")
        else:
            self._fault(entry, f"is in no class's folder; move it into {self.folder}/{split[0]}/CLASS/, or out of it")

    def _add_classes(self, folder: Path, part: str) -> None:
        names = set[str]()
        for entry in self._entries(folder):
            name = _name(entry)
            if not _is_folder(entry):
                move = f"is in no class's folder; move it into one, or out of {self.folder}"
                self._fault(entry, move if _is_file(entry) else NO_FILE)
            elif entry.is_symlink():
                self._fault(entry, LINK)
            elif name in IGNORED or name.endswith(".dvc") or {unicodedata.category(c) for c in name} & UNNAMEABLE:
                self._fault(entry, "cannot be the name of a class; rename the folder")
            elif name in names:
                self._fault(entry, "is the name of another class as well; rename the folder")
            else:
                names.add(name)
                self._add_pictures(Path(entry.path), part, name)

    def _add_pictures(self, folder: Path, part: str, label: str) -> None:
        entries = self._entries(folder)
        if folder.name.lower() in SPLITS and any(map(_is_folder, entries)):
            return self._fault(folder, f"is called {self.folder}/{folder.name.lower()} if it is a split; rename it")
        for entry in entries:
            if _is_folder(entry):
                self._fault(entry, "is a folder in a class's folder; move its pictures up into that")
            elif not _is_file(entry):
                self._fault(entry, NO_FILE)
            elif any(unicodedata.category(each) == "Cs" for each in _name(entry)):
                self._fault(entry, "has a name that is not UTF-8; rename it")
            else:
                self.pictures.append(Picture(Path(entry.path), part, label))
        if not entries:
            self._fault(folder, "has no pictures; add some, or delete the folder")
        return None

    def _entries(self, folder: "os.DirEntry[str] | Path") -> "list[os.DirEntry[str]]":
        """Return what is in a folder, by name, but hidden files and those that DVC and file managers leave there."""
        try:
            with os.scandir(folder) as found:
                kept = [entry for entry in found if not entry.name.startswith(".") and entry.name not in LEFT]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if (line := f"{printable(os.fspath(folder))}: cannot be read: {error.strerror}") not in self.faults:
                self.faults.append(line)
            return []
        kept = [entry for entry in kept if not (entry.name.endswith(".dvc") and _is_file(entry))]
        return sorted(kept, key=lambda entry: (_name(entry), entry.name))

    def _check_classes(self, classes: list[str]) -> None:
        if not classes:
            raise UserError(
                f"{self.folder}/: has no folders of pictures; make one for each class, such as {self.folder}/cats/. A "
                f"temporary or queued experiment has only those that DVC knows: dvc add {self.folder}/*"
            )
        if not 2 <= len(classes) <= MOST_CLASSES:
            names = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
            raise UserError(
                f"{self.folder}/: must have from 2 to {MOST_CLASSES} folders, one for each class (got {len(classes)}: "
                f"{names})"
            )


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _name(entry: "os.DirEntry[str]") -> str:
    name = os.fsencode(entry.name).decode(errors="surrogateescape")  # whatever encoding the user's locale names
    return unicodedata.normalize("NFC", name)  # macOS may write é as two characters
