"""Print lines of class probabilities for pictures."""

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10.core import SIDE
from cifar10.core.errors import UserError
from cifar10.export.session import BATCH_SIZE, ExportedModel, load_exported, probabilities
from cifar10.pictures import HOW, printable
from cifar10.pictures.reader import Reader

# The folder is beside src/ if the package is installed from its repository.
RELEASE = Path(__file__).resolve().parents[3] / "release/cifar10.onnx"
SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jfif", ".mpo", ".gif", ".webp", ".avif", ".bmp", ".tif", ".tiff"),
    *(".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".ico"),
}
UNREADABLE = {".heic", ".heif"}  # which must not be passed over in silence


def print_lines(reader: Reader, arguments: list[str], model_file: str | None, top: int | None, as_json: bool) -> int:
    """Print a line for each picture in the files and folders; return the exit code, 1 if one was refused.

    `top` is how many classes to print, None for three, or all if there are fewer. Raise UserError if the network cannot
    be read or has fewer classes than `top`.
    """
    model = _model(model_file)
    if top is None:
        top = min(3, len(model.classes))
    if top > len(model.classes):
        raise UserError(f"--top must be from 1 to {len(model.classes)}, the number of classes (got {top})")
    output = _Output(model, model_file or "the released one", top, as_json)
    sources = [(name, name == argument) for argument in arguments for name in _files(argument, output)]
    output.begin([name for name, _ in sources])
    pictures = _readable(reader, sources, output)
    while batch := list(islice(pictures, BATCH_SIZE)):
        pixels = np.frombuffer(b"".join(pixels for _, pixels in batch), np.uint8).reshape(-1, SIDE, SIDE, 3)
        output.rows([name for name, _ in batch], probabilities(model, pixels))
    return 1 if output.refused else 0


def _model(file: str | None) -> ExportedModel:
    path = Path(file) if file is not None else RELEASE
    try:
        return load_exported(path)
    except FileNotFoundError:
        if file is None:
            raise UserError(f"{path}: is missing; name a network: cifar10 classify --model FILE PICTURE") from None
        raise UserError(f"{path}: is missing; make a network with: dvc repro, which writes models/model.onnx") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read: {reason}; dvc repro writes such a file: models/model.onnx") from None


def _files(argument: str, output: "_Output") -> list[str]:
    """Return the argument or, if it is a folder, its pictures, sorted; skip hidden files and links to folders."""
    if not os.path.isdir(argument):  # noqa: PTH112 # Path.is_dir raises for some names
        return [argument]
    found, before = [], output.refused
    refuse = lambda error: output.refuse(error.filename, f"cannot be read: {error.strerror}")  # noqa: E731
    for folder, folders, files in os.walk(argument, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures = (
            name for name in files if Path(name).suffix.lower() in SUFFIXES | UNREADABLE and not name.startswith(".")
        )
        found += [os.path.join(folder, name) for name in sorted(pictures)]  # noqa: PTH118 # as the user wrote it
    if not found and output.refused == before:
        output.refuse(argument, f"is a folder without pictures ({' '.join(sorted(SUFFIXES))})")
    return found


def _readable(reader: Reader, sources: list[tuple[str, bool]], output: "_Output") -> Iterator[tuple[str, bytes]]:
    """Yield name and pixels of each picture that can be read; refuse others. Read a pipe only if the user named it."""
    for name, named in output.progress(sources):
        try:
            yield name, reader.read(name, pipe=named)
        except UserError as error:
            output.refuse(name, str(error))


class _Output:
    """Print results on standard output, refusals on standard error, and a progress bar for many pictures."""

    def __init__(self, model: ExportedModel, name: str, top: int, as_json: bool) -> None:
        self.classes, self.top, self.as_json = model.classes, top, as_json
        self.shown = [printable(each) for each in model.classes]
        self.widest = min(24, max(map(len, self.shown), default=0))
        self.refused = self.width = 0
        self.bar = False
        what = f"trained on {model.dataset}"
        if card := model.card:
            what = f"{card['recipe']}, seed {card['seed']}: right on {100 * card['accuracy']:.2f} % of the test images"
        self.heading = "" if as_json else f"{printable(f'Network: {name} ({what})')}\n{HOW[0].upper()}{HOW[1:]}:"

    def begin(self, names: list[str]) -> None:
        self.width = min(60, max((len(printable(name)) for name in names), default=0))
        self.bar = len(names) > BATCH_SIZE and sys.stderr.isatty()

    def progress(self, sources: list[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
        if not self.bar:
            return iter(sources)
        from tqdm import tqdm

        return iter(tqdm(sources, unit=" pictures", leave=False))

    def rows(self, names: list[str], predicted: NDArray[np.float32]) -> None:
        """Print a line for each picture: the `top` most probable classes of probabilities (N, 10)."""
        if self.heading:
            self._print(self.heading)
            self.heading = ""
        for name, row in zip(names, predicted, strict=True):
            best = [(i, float(row[i])) for i in np.argsort(-row, kind="stable")[: self.top]]
            if self.as_json:
                predictions = [{"class": self.classes[i], "probability": round(value, 6)} for i, value in best]
                self._print(json.dumps({"picture": name, "predictions": predictions}))
            else:
                cells = [f"{self.shown[i]:<{self.widest}} {100 * value:5.1f} %" for i, value in best]
                self._print(f"{printable(name):<{self.width}}  {'   '.join(cells)}")
        if sys.stdout is not None:
            sys.stdout.flush()

    def refuse(self, name: str, reason: str) -> None:
        self.refused += 1
        self._print(f"error: {printable(name)}: {reason}", error=True)

    def _print(self, line: str, error: bool = False) -> None:
        file = sys.stderr if error else sys.stdout
        if self.bar:
            from tqdm import tqdm

            tqdm.write(line, file=file)  # above the bar
        else:
            print(line, file=file)
