"""make release: models/model.onnx, of the committed parameters, as release/cifar10.onnx, for `cifar10 classify`."""

import hashlib
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from cifar10.core.params_file import parse_params
from tools.repository import git
from tools.start import run_tool

MODEL, RELEASE, LOCK = Path("models/model.onnx"), Path("release/cifar10.onnx"), Path("dvc.lock")


def main() -> None:
    try:
        stages = YAML(typ="safe", pure=True).load(LOCK.read_text())["stages"]
        (expected,) = (out["md5"] for out in stages["export"]["outs"] if out["path"] == str(MODEL))
    except (OSError, ValueError, YAMLError, LookupError, TypeError):
        raise UserError(f"{LOCK}: has no {MODEL}; make it: dvc repro") from None
    committed = parse_params(git("show", "HEAD:params.yaml"), "the committed params.yaml").model_dump()
    if committed["dataset"] != "cifar10":
        raise UserError(f"{RELEASE}: holds cifar10, but the committed params.yaml has dataset: {committed['dataset']}")
    recorded = [stage["params"]["params.yaml"] for stage in stages.values() if "params" in stage]
    others = sorted({name for values in recorded for name in values if committed.get(name) != values[name]})
    if others:
        raise UserError(
            f"{LOCK}: is of other parameters than the committed params.yaml ({', '.join(others)} differ); only the "
            "committed network is released: git commit params.yaml with its results, or git restore . && dvc checkout"
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
