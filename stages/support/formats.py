"""Read and write the pipeline's files atomically: JSON, CSV and arrays, which are verified when read."""

import csv
import io
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cifar10.core import SIDE
from cifar10.core.data import Split
from cifar10.core.errors import UserError
from cifar10.core.files import file_digest, replacing, write_atomically

DIGESTS = "sha256.json"


def read_bytes(path: str, repair: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; repair it with: {repair}") from None


def read_json(path: str) -> Any:
    with explained(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def read_csv(path: str, columns: Mapping[str, type]) -> list[dict[str, Any]]:
    with explained(path):
        return table(Path(path).read_bytes(), columns)


def table(data: bytes, columns: Mapping[str, type]) -> list[dict[str, Any]]:
    """Return the rows of a CSV file, each column of its type; raise ValueError if it is not such a file."""
    reader = csv.DictReader(io.StringIO(data.decode()))
    try:
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise ValueError(f"no column {', '.join(missing)}")
        found = [{name: kind(row[name]) for name, kind in columns.items()} for row in reader]
    except (TypeError, csv.Error) as error:  # a row that is too short, or a field that is too long
        raise ValueError(error) from None
    if not found or not all(math.isfinite(v) for row in found for v in row.values() if isinstance(v, float)):
        raise ValueError("no rows, or a number that is not finite")
    return found


def declared_stages() -> dict[str, Any]:
    """Return the stages of dvc.yaml by name, in its order."""
    stages: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


def declared_files(stage: str) -> list[Path]:
    """Return the files that dvc.yaml declares as deps of `stage`: a folder's modules, a split's digests.

    Like DVC (.dvcignore), it skips what editors and tools leave in a folder.
    """
    files: list[Path] = []
    for path in map(Path, declared_stages()[stage]["deps"]):
        found = (file for file in path.rglob("*.py") if (file.parent / "__init__.py").is_file())
        modules = (file for file in found if not file.name.startswith("."))
        files += [path] if path.is_file() else sorted([*modules, *path.glob(DIGESTS)])
    return files


def remove_readers_outputs(path: str) -> None:
    """Delete the outputs of the stages that read `path`, which is about to change."""
    for stage in declared_stages().values():
        if path in stage.get("deps", ()):
            for out in (*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())):
                file = Path(out if isinstance(out, str) else next(iter(out)))
                folder = file.is_dir() and not file.is_symlink()
                shutil.rmtree(file) if folder else file.unlink(missing_ok=True)


def read_split(folder: str) -> Split:
    """Return memory maps of a split's arrays. Raise UserError if a file is missing or damaged."""
    with explained(folder):
        digests = json.loads(Path(folder, DIGESTS).read_text(encoding="utf-8"))
        for name in ("images.npy", "labels.npy"):
            if file_digest(Path(folder, name)) != digests.get(name):
                raise ValueError(f"{name} is damaged: its sha256 differs from the one in {DIGESTS}")
        images, labels = (np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in ("images", "labels"))
        if images.shape != (len(labels), SIDE, SIDE, 3) or images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise ValueError(f"images {images.shape} {images.dtype} and labels {labels.shape} {labels.dtype}")
        return Split(images, labels)


def write_split(folder: str, split: Split) -> None:
    for name, array in split._asdict().items():
        with replacing(Path(folder, f"{name}.npy"), array.nbytes) as file:
            np.save(file, array)
    write_json(
        f"{folder}/{DIGESTS}", {f"{name}.npy": file_digest(Path(folder, f"{name}.npy")) for name in split._fields}
    )


def write_json(path: str, values: Any) -> None:
    write_atomically(Path(path), (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file; floats have six significant digits, which is enough for a plot."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)
    write_atomically(Path(path), text.getvalue().encode())


@contextmanager
def explained(path: str, first: str = "") -> Iterator[None]:
    """Turn errors of code that reads `path` into a UserError, which says how to make or repair it, and what `first`."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; make it with: {first}dvc repro") from None
    except (ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        # DVC trusts read-only files in its cache, but checks writable ones.
        repair = f'{first}chmod -R u+w "$(dvc cache dir)"; rm -r {path}; dvc repro'
        raise UserError(f"{path}: cannot be read: {error}; repair it with: {repair}") from None
