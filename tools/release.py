"""make release: copy the network of the committed parameters to release/, as ONNX and for PyTorch."""

import hashlib
from pathlib import Path

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from cifar10.core.params_file import parse_params
from tools.params_editor import flat
from tools.records import BROKEN, differing, together
from tools.repository import git
from tools.start import run_tool

LOCK, RELEASE = Path("dvc.lock"), Path("release")
FILES = {"models/model.onnx": "cifar10.onnx", "models/model.safetensors": "cifar10.safetensors"}


def main() -> None:
    try:
        recorded = together(LOCK.read_bytes())
        expected = {path: recorded.outs[path] for path in FILES}
    except BROKEN:
        raise UserError(f"{LOCK}: has no {' and '.join(FILES)}; make them: dvc repro") from None
    committed = parse_params(git("show", "HEAD:params.yaml"), "the committed params.yaml").model_dump()
    if committed["dataset"] != "cifar10":
        raise UserError(f"{RELEASE}: holds cifar10, but the committed params.yaml has dataset: {committed['dataset']}")
    if others := differing(recorded.params, flat(committed)):
        raise UserError(
            f"{LOCK}: is of other parameters than the committed params.yaml ({', '.join(others)}); only the committed "
            "network is released: git commit params.yaml with its results, or git restore . && dvc checkout"
        )
    contents = {path: checked(Path(path), md5) for path, md5 in expected.items()}
    for path, name in FILES.items():
        write_atomically(RELEASE / name, contents[path])
        print(f"release: {RELEASE / name} is {path}, {len(contents[path]):,} bytes; commit it with {LOCK}")


def checked(path: Path, md5: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; make it: dvc repro") from None
    if hashlib.md5(data).hexdigest() != md5:
        raise UserError(f"{path}: is not the one that {LOCK} names; make it: dvc checkout, or dvc repro")
    return data


if __name__ == "__main__":
    run_tool("release", main)
