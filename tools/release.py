"""make release: copy the network of the workspace to release/, as ONNX and for PyTorch, with a model card."""

import hashlib
import sys
from pathlib import Path

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from tools.card import card, facts, with_facts_onnx, with_facts_safetensors
from tools.compare.runs import MACHINE_TYPE, find_runs
from tools.compare.settings import varied
from tools.recipe import recipes
from tools.records import BROKEN, RESTORE, together
from tools.repository import git
from tools.results import Results
from tools.show import described
from tools.start import run_tool
from tools.verify import check_lock

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
        raise UserError(f"{' '.join(doubts)} Make them again: dvc repro, or: {RESTORE} && dvc checkout")
    # After a release its own files differ from those that `download` has seen; that changes no network.
    check_lock(Path(), recorded.outs | {str(RELEASE): ""})
    if dirty := git("status", "--porcelain", "--untracked-files=all", "--", "src", "stages", "requirements.lock"):
        raise UserError(
            f"the card names the commit of the code, but {dirty.split()[-1]} is not committed; git commit first"
        )
    seeds = by_seed(results)
    known = facts(results, git("rev-parse", "HEAD"), described(results.params, recipes()), seeds)
    made = {"cifar10.onnx": with_facts_onnx(network, known), "README.md": card(known).encode()}
    made["cifar10.safetensors"] = with_facts_safetensors(weights, known)
    for name, data in made.items():  # when all are made
        write_atomically(RELEASE / name, data)
    print(f"release: {RELEASE}/ holds {' and '.join(FILES)}, and their card")
    print(f"release: next: {RESTORE}; dvc checkout; dvc repro")
    print("release: then commit release/, dvc.lock and README's example of cifar10 classify")


def by_seed(results: Results) -> dict[int, float]:
    """Return the test accuracy of this run and of those with other seeds, if code and type of machine are the same."""
    setting = varied(results.params)
    runs, _, faults = find_runs([], results.params["dataset"])
    for fault in faults:
        print(f"note: the card leaves out what cannot be read: {fault}", file=sys.stderr)
    machine, code = {key: results.metrics["run"][key] for key in MACHINE_TYPE}, results.lock.deps.items()
    alike = [run for run in runs if varied(run.params) == setting and run.kind["machine"] == machine]
    same = [run for run in alike if run.kind["code of train"].items() <= code]
    seeds = {run.params["seed"]: run.numbers["test_accuracy"] for run in same if "test_accuracy" in run.numbers}
    return seeds | {results.params["seed"]: results.metrics["test"]["accuracy"]}


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
