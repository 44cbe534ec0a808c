"""Name everything that the result of a training depends on, so that no training resumes another's checkpoint."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from cifar10.core.files import file_digest, write_atomically
from cifar10.core.lock import is_held
from cifar10.core.params import EVALUATION, MACHINE, Params

NAME = "identity.json"  # in the folder of a training's checkpoints


def training_identity(
    params: Params, machine: Mapping[str, object], files: Iterable[Path]
) -> dict[str, dict[str, Any]]:
    """Return the parameters, what `machine` is, and the digests of the `files` that the training depends on."""
    # `machine` holds what device, precision and threads became; the number of workers changes no bit.
    settings = params.model_dump(exclude=EVALUATION | MACHINE)
    digests = {str(path): file_digest(path) for path in files}
    return {"params": settings, "machine": dict(machine), "files": digests}


def digest(identity: Mapping[str, Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def remember(folder: Path, identity: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `identity` beside the checkpoints in `folder`."""
    write_atomically(folder / NAME, json.dumps(identity, indent=2).encode())


def not_resumed(folder: Path, identity: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each unfinished training beside `folder` with these parameters: why it is not resumed."""
    for other_folder in sorted({path.parent for path in folder.parent.glob("*/*.pt")} - {folder}):
        try:
            other = json.loads((other_folder / NAME).read_text(encoding="utf-8"))
            differ = [
                name
                for group in ("machine", "files")
                for name in sorted({*identity[group], *other[group]})
                if identity[group].get(name) != other[group].get(name)
            ]
            same = other["params"] == identity["params"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # finished, or of an older version
            continue
        if same and not is_held(other_folder / "lock"):  # held: it is running
            yield (
                f"note: {other_folder}: an unfinished training with these parameters is not resumed, as "
                f"{', '.join(differ)} changed since; if it is not needed: rm -r {quote(str(other_folder))}"
            )
