"""make release: copy the network of the workspace to release/, as ONNX and for PyTorch, with a model card."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from tools.card import card, facts, with_facts_onnx, with_facts_safetensors
from tools.compare.runs import find_runs
from tools.compare.settings import varied
from tools.recipe import recipes
from tools.records import BROKEN, together
from tools.repository import git
from tools.results import Results
from tools.show import described
from tools.start import run_tool

LOCK, RELEASE = Path("dvc.lock"), Path("release")
FILES = ("models/model.onnx", "models/model.safetensors")


def main() -> None:
    try:
        recorded = together(LOCK.read_bytes())
        expected = {path: recorded.outs[path] for path in FILES}
    except BROKEN:
        raise UserError(f"{LOCK}: has no {' and '.join(FILES)}; make them: dvc repro") from None
    network, weights = (checked(Path(path), md5) for path, md5 in expected.items())
    results = Results("the workspace")
    if (dataset := results.params["dataset"]) != "cifar10":
        raise UserError(f"{RELEASE}: holds a network of cifar10, but params.yaml has dataset: {dataset}")
    if doubts := results.doubts():
        raise UserError(f"{' '.join(doubts)} Make them again: dvc repro, or: git restore . && dvc checkout")
    known = facts(results, git("rev-parse", "HEAD"), described(results.params, recipes()), by_seed(results.params))
    write_atomically(RELEASE / "cifar10.onnx", with_facts_onnx(network, known))
    write_atomically(RELEASE / "cifar10.safetensors", with_facts_safetensors(weights, known))
    write_atomically(RELEASE / "README.md", card(known).encode())
    print(f"release: {RELEASE}/ holds {' and '.join(FILES)}, and their card; commit it with {LOCK}")


def by_seed(params: Mapping[str, Any]) -> dict[int, float]:
    """Return the test accuracy of the runs of this repository that differ from `params` in the seed alone."""
    runs, _ = find_runs([], params["dataset"])
    same = [run for run in runs if varied(run.params) == varied(dict(params)) and "test_accuracy" in run.numbers]
    return {run.params["seed"]: run.numbers["test_accuracy"] for run in same}


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
