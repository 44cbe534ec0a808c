"""make release: copy models/model.onnx of the committed parameters to release/cifar10.onnx for `cifar10 classify`."""

import hashlib
from pathlib import Path

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from cifar10.core.params_file import parse_params
from tools.params_editor import flat
from tools.records import BROKEN, differing, together
from tools.repository import git
from tools.start import run_tool

MODEL, RELEASE, LOCK = Path("models/model.onnx"), Path("release/cifar10.onnx"), Path("dvc.lock")


def main() -> None:
    try:
        recorded = together(LOCK.read_bytes())
        expected = recorded.outs[str(MODEL)]
    except BROKEN:
        raise UserError(f"{LOCK}: has no {MODEL}; make it: dvc repro") from None
    committed = parse_params(git("show", "HEAD:params.yaml"), "the committed params.yaml").model_dump()
    if committed["dataset"] != "cifar10":
        raise UserError(f"{RELEASE}: holds cifar10, but the committed params.yaml has dataset: {committed['dataset']}")
    if others := differing(recorded.params, flat(committed)):
        raise UserError(
            f"{LOCK}: is of other parameters than the committed params.yaml ({', '.join(others)}); only the committed "
            "network is released: git commit params.yaml with its results, or git restore . && dvc checkout"
        )
    try:
        data = MODEL.read_bytes()
    except OSError as error:
        raise UserError(f"{MODEL}: cannot be read: {error.strerror}; make it: dvc repro") from None
    if hashlib.md5(data).hexdigest() != expected:
        raise UserError(f"{MODEL}: is not the one that {LOCK} names; make it: dvc checkout, or dvc repro")
    write_atomically(RELEASE, data)
    print(f"release: {RELEASE} is {MODEL}, {len(data):,} bytes; commit it with {LOCK}")


if __name__ == "__main__":
    run_tool("release", main)
