"""What identifies a training: everything that its bits depend on."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cifar10.disk import file_digest
from cifar10.errors import UserError
from cifar10.params import EVALUATION, MACHINE, Params
from stages.files import DIGESTS, read_json, write_json
from stages.lifetime import is_held

NAME = "identity.json"  # in the folder of a training's checkpoints


def training_identity(params: Params, machine: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """The parameters, what `machine` is, and the digests of the files that dvc.yaml declares for train."""
    stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml"))["stages"]
    paths = [Path(name) for name in stages["train"]["deps"]]
    files = {str(path): file_digest(path / DIGESTS if path.is_dir() else path) for path in paths}
    # `machine` says what became of device, precision and threads; the number of workers changes no bit.
    settings = params.model_dump(exclude=EVALUATION | MACHINE - {"augment_with"})
    return {"params": settings, "machine": dict(machine), "files": files}


def digest(identity: Mapping[str, Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def remember(folder: Path, identity: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `identity` beside the checkpoints in `folder`."""
    write_json(str(folder / NAME), identity)


def not_resumed(folder: Path, identity: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each unfinished training beside `folder` with the same parameters, and why it is not resumed."""
    for other_folder in sorted({path.parent for path in folder.parent.glob("*/*.pt")} - {folder}):
        try:
            other = read_json(str(other_folder / NAME))
        except UserError:  # it has just finished, or is of a version that wrote no identity
            continue
        if other["params"] == identity["params"] and not is_held(other_folder / "lock"):  # held: it is running
            differ = [
                name
                for group in ("machine", "files")
                for name in sorted({*identity[group], *other[group]})
                if identity[group].get(name) != other[group].get(name)
            ]
            yield (
                f"note: {other_folder}: an unfinished training with these parameters is not resumed, as "
                f"{', '.join(differ)} changed since; if it is not needed: rm -r {other_folder}"
            )
