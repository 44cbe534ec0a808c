"""Run an experiment of a sweep in a clone of its own, push its files, then its ref.

Run by tools/sweep/node.py as `python -m tools.sweep.task TASK`, where TASK is JSON. The last line that it prints is
JSON: what the hub shows. A clone for each experiment, and not `dvc exp run --temp` in one clone for all, as DVC locks
its repository: of several that start at once some fail.
"""

import json
import shutil
import subprocess
import sys
import time
from configparser import RawConfigParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from cifar10.core.errors import UserError
from tools.records import experiment_refs
from tools.repository import DVC
from tools.start import run_tool
from tools.sweep.refs import digest


def main() -> None:
    task = json.loads(sys.argv[1])
    clone = Path(task["folder"], "running", task["name"])
    clone.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{clone}.lock"):  # the same experiment, started by a hub that has died, may still be ending
        shutil.rmtree(clone, ignore_errors=True)  # its training is resumed from the checkpoints
        try:
            if task["data_only"]:
                fetch_data(clone, task)
            else:
                print(json.dumps(experiment(clone, task)))
        except UserError:
            shutil.rmtree(clone, ignore_errors=True)
            raise
        shutil.rmtree(clone, ignore_errors=True)


def fetch_data(clone: Path, task: dict[str, Any]) -> None:
    """Bring the data into the cache and, for the other machines, into the DVC remote."""
    clone_commit(clone, task)
    dvc_exp_run(clone, task, "--quiet", "compute_stats")  # the stage still shows how far its download is
    if task["remote"]:
        run_command(clone, DVC, "push", "--quiet", "--run-cache", "--with-deps", "compute_stats")


def experiment(clone: Path, task: dict[str, Any]) -> dict[str, Any]:
    if digest(task["name"]) in (digest(ref.name) for ref in experiment_refs(task["url"])):
        return {"note": "was there already"}  # a machine was lost after it had pushed
    started = time.monotonic()
    clone_commit(clone, task)
    dvc_exp_run(clone, task)
    if task["remote"]:
        run_command(clone, DVC, "push")
    run_command(clone, DVC, "exp", "push", "--no-cache", "origin", task["name"])  # last: a ref has all its files
    found: dict[str, Any] = {"seconds": round(time.monotonic() - started)}
    for file, key in (("test", "accuracy"), ("train", "validation_accuracy")):
        with suppress(OSError, ValueError, KeyError):
            found[key] = round(json.loads((clone / f"metrics/{file}.json").read_text(encoding="utf-8"))[key], 4)
    return found


def clone_commit(clone: Path, task: dict[str, Any]) -> None:
    """Clone this repository at the commit of the sweep, with the cache and checkpoints that all tasks here share."""
    options = ("--quiet", "--shared", "--no-checkout", "--origin", "origin")  # whatever name the user has configured
    run_command(Path(), "git", "clone", *options, str(Path().absolute()), str(clone))
    run_command(clone, "git", "checkout", "--quiet", "--detach", task["commit"])
    run_command(clone, "git", "remote", "set-url", "origin", task["url"])
    for key, value in zip(("user.name", "user.email"), task["user"], strict=True):
        run_command(clone, "git", "config", key, value)
    checkpoints = Path(task["checkpoints"])
    checkpoints.mkdir(exist_ok=True)
    (clone / "checkpoints").symlink_to(checkpoints)
    config = RawConfigParser()
    config.read(task["config"], "utf-8")  # .dvc/config.local, where the keys of a remote may be
    config.read_dict({"core": {"site_cache_dir": str(clone / ".dvc/site")}})
    config.read_dict({"cache": {"dir": task["cache"], "type": "hardlink,copy"}})
    with (clone / ".dvc/config.local").open("w", encoding="utf-8") as file:
        config.write(file)


def dvc_exp_run(clone: Path, task: dict[str, Any], *more: str) -> None:
    pull = ["--pull"] if task["remote"] else []
    set_params = [f"--set-param={key}={json.dumps(value)}" for key, value in task["changes"].items()]
    run_command(clone, DVC, "exp", "run", *pull, "--name", task["name"], *set_params, *more)


def run_command(folder: Path, *command: str) -> None:
    """Run a command, whose output goes to standard error, as standard output is for the result alone."""
    if code := subprocess.run(command, cwd=folder, stdout=sys.stderr).returncode:
        raise UserError(f"{Path(command[0]).name} {' '.join(command[1:3])} failed, exit code {code}")


if __name__ == "__main__":
    run_tool("sweep_task", main)
