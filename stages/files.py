"""Reading and writing the pipeline's files: complete or as before when written, verified when read."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar10.disk import file_digest, replacing
from cifar10.errors import UserError
from cifar10.split import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.figure import Figure
    from torch import Tensor

DIGESTS = "sha256.json"


def read_json(path: str) -> Any:
    with _explained(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def read_split(folder: str) -> Split:
    """Memory maps of a split's arrays, nothing is copied; a damaged file is an error."""
    with _explained(folder):
        digests = json.loads(Path(folder, DIGESTS).read_text())
        for name in ("images.npy", "labels.npy"):
            if file_digest(Path(folder, name)) != digests.get(name):
                raise ValueError(f"{name} is damaged: its sha256 differs from the one in {DIGESTS}")
        images, labels = (np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in ("images", "labels"))
        if images.shape != (len(labels), 32, 32, 3) or images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise ValueError(f"images {images.shape} {images.dtype} and labels {labels.shape} {labels.dtype}")
        return Split(images, labels)


def read_weights(path: str) -> "dict[str, Tensor]":
    """The tensors of a safetensors file; imports torch, so only where it is called."""
    from safetensors import SafetensorError, safe_open

    with _explained(path):
        try:
            with safe_open(path, "pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # no mapping
                about = json.loads((file.metadata() or {}).get("cifar10", "{}"))
        except SafetensorError as error:
            raise ValueError(error) from None
        if weights_digest(weights) != about.get("sha256"):
            raise ValueError("the weights are damaged: their sha256 differs from the one in the file's metadata")
        return weights


def write_split(folder: str, split: Split) -> None:
    for name, array in split._asdict().items():
        with replacing(Path(folder, f"{name}.npy"), array.nbytes) as file:
            np.save(file, array)
    write_json(
        f"{folder}/{DIGESTS}", {f"{name}.npy": file_digest(Path(folder, f"{name}.npy")) for name in split._fields}
    )


def write_weights(path: str, weights: "dict[str, Tensor]", about: dict[str, Any]) -> None:
    """A safetensors file; its metadata hold `about` and the weights' sha256."""
    from safetensors.torch import save

    # One entry, because safetensors writes several in a random order.
    metadata = json.dumps(about | {"sha256": weights_digest(weights)})
    write_bytes(path, save(weights, {"cifar10": metadata}))


def weights_digest(weights: "dict[str, Tensor]") -> str:
    """sha256 of the tensors' names, types, shapes and bytes, whatever a file of them looks like."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        array = tensor.cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def write_json(path: str, values: Any) -> None:
    write_bytes(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Floats with six significant digits, enough for a plot."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)
    write_bytes(path, text.getvalue().encode())


def write_figure(path: str, draw: "Callable[[], Figure]") -> None:
    """A PNG of what `draw` returns, under matplotlib's defaults: a user's matplotlibrc changes no byte."""
    import matplotlib

    image = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        draw().savefig(image, format="png", dpi=100)
    write_bytes(path, image.getvalue())


def write_bytes(path: str, data: bytes) -> None:
    with replacing(Path(path), len(data)) as file:
        file.write(data)


@contextmanager
def _explained(path: str) -> "Iterator[None]":
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; make it with: dvc repro") from None
    except (ValueError, OSError) as error:
        # DVC trusts what is read-only in its cache, and checks what is not.
        repair = f"chmod -R u+w .dvc/cache; rm -r {path}; dvc repro"
        raise UserError(f"{path}: cannot be read: {error}; repair it with: {repair}") from None
