"""Reading and writing the pipeline's files. A file is complete or absent: it is written aside, then renamed."""

import csv
import io
import json
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cifar10.errors import UserError
from cifar10.split import Split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure
    from torch import Tensor


def read_text(path: str) -> str:
    with _explained(path):
        return Path(path).read_text(encoding="utf-8")


def read_json(path: str) -> Any:
    with _explained(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def read_split(folder: str) -> Split:
    """Memory maps of a split's arrays, nothing is copied; a damaged file is an error."""
    with _explained(folder):
        images, labels = (np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in ("images", "labels"))
        if images.shape != (len(labels), 32, 32, 3) or images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise ValueError(f"images {images.shape} {images.dtype} and labels {labels.shape} {labels.dtype}")
        return Split(images, labels)


def read_weights(path: str) -> "dict[str, Tensor]":
    """The tensors of a safetensors file; imports torch, so only where it is called."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with _explained(path):
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(error) from None


def write_split(folder: str, split: Split) -> None:
    for name, array in split._asdict().items():
        with _replacing(f"{folder}/{name}.npy") as file:
            np.save(file, array)


def write_json(path: str, values: Any) -> None:
    write_bytes(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Floats with six significant digits, enough for a plot."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)
    write_bytes(path, text.getvalue().encode())


def write_figure(path: str, figure: "Figure") -> None:
    with _replacing(path) as file:
        figure.savefig(file, format="png", dpi=100)


def write_bytes(path: str, data: bytes) -> None:
    with _replacing(path) as file:
        file.write(data)


@contextmanager
def _replacing(path: str) -> "Iterator[IO[bytes]]":
    target = Path(path)
    aside = target.with_name(target.name + ".tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            yield file
        aside.replace(target)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; the file that was there is intact") from None
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _explained(path: str) -> "Iterator[None]":
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; make it with: dvc repro") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {error}; delete it and run: dvc repro") from None
