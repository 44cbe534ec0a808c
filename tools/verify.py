"""make verify: run the pipeline again in a copy elsewhere and compare every output with dvc.lock."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from signal import Signals, signal

from cifar10.core.errors import StoppedError, UserError
from stages.support.stop import stop_signals
from tools.records import BROKEN, together
from tools.repository import DVC, copy_working_tree, keep_data_mirror
from tools.session import run_session
from tools.start import run_tool


def verify() -> None:
    """Print which outputs match. Raise UserError, with what differs between the two machines, if one does not."""
    expected, then = read(Path())
    keep_data_mirror()
    came: list[int] = []  # signals, noted only: an exception at a bad moment could leave DVC running, or the copy
    for number in stop_signals():
        signal(number, lambda number, _: came.append(number))
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        copy_working_tree(Path(folder))
        if Path("pictures").is_dir():  # which git ignores
            shutil.copytree("pictures", Path(folder, "pictures"), symlinks=True, dirs_exist_ok=True)
        check_lock(folder, expected)
        code = run_session([DVC, "repro", "--force"], lambda: came, cwd=Path(folder))
        if came:
            raise StoppedError(f"stopped by {Signals(came[0]).name}; the copy is removed", 128 + came[0])
        if code:
            raise UserError("dvc repro failed, see above")
        found, here = read(Path(folder))
    results = {path: "same     " if found.get(path) == md5 else "DIFFERENT" for path, md5 in expected.items()}
    print("", *(f"{result}  {path}" for path, result in results.items()), sep="\n")
    if found != expected:
        why = "; ".join(f"{key} was {then[key]}, is {here.get(key)} here" for key in then if here.get(key) != then[key])
        raise UserError(f"not the same bytes; of the conditions in metrics/run.json: {why or 'none differs'}")


def read(folder: Path) -> tuple[dict[str, str], dict[str, object]]:
    """Return the md5 of each output in dvc.lock but metrics/run.json, and what metrics/run.json says of the machine."""
    name = "dvc.lock"
    try:
        outs = together((folder / name).read_bytes()).outs
        outs.pop(name := "metrics/run.json", None)
        run = json.loads((folder / name).read_text(encoding="utf-8")).items()
        return outs, {key: value for key, value in run if not isinstance(value, float)}  # which are measured
    except BROKEN:
        raise UserError(f"{name}: missing or broken; make it: dvc repro, or if committed: git restore {name}") from None


def check_lock(folder: str, outs: dict[str, str]) -> None:
    """Raise UserError if dvc.lock is of other parameters or code. Outputs may be missing."""
    status = subprocess.run([DVC, "status", "--json"], cwd=folder, stdout=subprocess.PIPE, start_new_session=True)
    for stage, changes in json.loads(status.stdout or "{}").items():  # nothing: it failed, and so will dvc repro
        names = ["cmd"] if "changed command" in changes else []
        for deps in (change.get("changed deps", {}) for change in changes if isinstance(change, dict)):
            for path, state in deps.items():  # state: what happened to the file, or to each key of params.yaml
                if not any(path == out or path.startswith(f"{out}/") for out in outs):
                    names += state if isinstance(state, dict) else [path]
        if names:
            raise UserError(f"dvc.lock is outdated: {stage}: {', '.join(names)} changed; dvc repro, then make verify")


if __name__ == "__main__":
    run_tool("verify", verify)
