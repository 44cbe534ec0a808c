"""make verify: run the pipeline again in a copy elsewhere and compare every output with dvc.lock."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import Signals, signal

from cifar10.core.errors import StoppedError, UserError
from stages.support.stop import stop_signals
from tools.records import BROKEN, lock_stages, together
from tools.repository import DVC, copy_working_tree, keep_data_mirror
from tools.session import run_session
from tools.start import run_tool

ACCURACY = ("accuracy", "accuracy_low", "accuracy_high")


def verify() -> None:
    """Print which outputs match. Raise UserError, with what differs between the two machines, if one does not."""
    expected, then = read(Path())

    def prepare(copy: Path) -> None:
        if Path("pictures").is_dir():  # which git ignores
            shutil.copytree("pictures", copy / "pictures", symlinks=True, dirs_exist_ok=True)
        check_lock(copy, expected)

    with run_in_copy(prepare) as copy:
        found, here = read(copy)
        accuracy = accuracy_of(copy)
    if not print_same(found, expected):
        print(in_interval(accuracy, accuracy_of(Path())))
        why = "; ".join(f"{key} was {then[key]}, is {here.get(key)} here" for key in then if here.get(key) != then[key])
        raise UserError(f"not the same bytes; of the conditions in metrics/run.json: {why or 'none differs'}")


@contextmanager
def run_in_copy(prepare: Callable[[Path], None], *stages: str) -> Iterator[Path]:
    """Yield a copy of the working tree, prepared by `prepare`, in which the pipeline has run up to `stages`."""
    keep_data_mirror()
    came: list[int] = []  # signals, noted only: an exception at a bad moment could leave DVC running, or the copy
    for number in stop_signals():
        signal(number, lambda number, _: came.append(number))
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        copy_working_tree(Path(folder))
        prepare(Path(folder))
        code = run_session([DVC, "repro", "--force", *stages], lambda: came, cwd=Path(folder))
        if came:
            raise StoppedError(f"stopped by {Signals(came[0]).name}; the copy is removed", 128 + came[0])
        if code:
            raise UserError("dvc repro failed, see above")
        yield Path(folder)


def print_same(found: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    """Print for each output whether it is the expected one. Return whether all are."""
    results = {path: "same     " if found.get(path) == md5 else "DIFFERENT" for path, md5 in expected.items()}
    results |= {path: "NEW      " for path in found if path not in expected}
    print("", *(f"{result}  {path}" for path, result in results.items()), sep="\n", flush=True)
    return found == expected


def accuracy_of(folder: Path) -> dict[str, float]:
    """Return accuracy, accuracy_low and accuracy_high of metrics/test.json, nothing if it has none."""
    try:
        found = json.loads((folder / "metrics/test.json").read_bytes())
        return {key: found[key] for key in ACCURACY} if all(0 <= found[key] <= 1 for key in ACCURACY) else {}
    except BROKEN:
        return {}


def in_interval(here: Mapping[str, float], then: Mapping[str, float]) -> str:
    """Return what somebody with another type of machine wants to know: whether the networks are equally good."""
    if not here or not then:
        return "the accuracies cannot be compared: a metrics/test.json has none"
    accuracy, expected, low, high = here["accuracy"], *(then[key] for key in ACCURACY)
    inside = "inside" if low <= accuracy <= high else "OUTSIDE"
    return f"test accuracy {accuracy:.4f} here, {inside} the 95 % interval of {expected:.4f}, {low:.4f} to {high:.4f}"


def read(folder: Path) -> tuple[dict[str, str], dict[str, object]]:
    """Return the md5 of each output in dvc.lock but metrics/run.json, and what metrics/run.json says of the machine."""
    name = "dvc.lock"
    try:
        outs = together((folder / name).read_bytes()).outs
        outs.pop(name := "metrics/run.json", None)
        run = json.loads((folder / name).read_text(encoding="utf-8"))
        if run.get("precision") == "portable":
            outs.pop("metrics/export.json", None)  # ONNX Runtime has other code for each type of processor
        return outs, {key: value for key, value in run.items() if not isinstance(value, float)}  # which are measured
    except BROKEN:
        raise UserError(f"{name}: missing or broken; make it: dvc repro, or if committed: git restore {name}") from None


def check_lock(folder: Path, outs: dict[str, str]) -> None:
    """Raise UserError if dvc.lock is of other parameters or code, or of several runs. Outputs may be missing."""
    stages = lock_stages((folder / "dvc.lock").read_bytes())
    outdated = {
        name: [path for path, md5 in stage.deps.items() if outs.get(path, md5) != md5] for name, stage in stages.items()
    }
    status = subprocess.run([DVC, "status", "--json"], cwd=folder, stdout=subprocess.PIPE, start_new_session=True)
    if status.returncode:
        raise UserError("dvc status failed, see above")
    for stage, changes in json.loads(status.stdout).items():
        names = outdated.setdefault(stage, [])
        names += ["cmd"] if "changed command" in changes else []
        for deps in (change.get("changed deps", {}) for change in changes if isinstance(change, dict)):
            for path, state in deps.items():  # state: what happened to the file, or to each key of params.yaml
                if not any(path == out or path.startswith(f"{out}/") for out in outs):
                    names += state if isinstance(state, dict) else [path]
    for stage, names in outdated.items():
        if names:
            raise UserError(
                f"dvc.lock is outdated: {stage}: {', '.join(names)} changed; dvc repro, then this command again"
            )


if __name__ == "__main__":
    run_tool("verify", verify)
