"""Set the repository up on a machine of Ray, once, and start tools/sweep/task.py in it.

Ray sends this module as it is, so it imports nothing of this repository: a machine needs git, bash and Python alone.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cifar10.core.environment import foreign  # sent by value as well

LOCKS = "requirements.lock requirements-dev.lock requirements-cluster.lock"


class FailedError(Exception):
    """Say that a command failed, with its last lines, and where all of them are."""

    def __init__(self, log: Path) -> None:
        text = log.read_text(encoding="utf-8", errors="replace")
        self.lines, self.log = [line.rstrip() for line in text.splitlines() if line.strip()][-5:], log


def run_on_node(task: dict[str, Any]) -> dict[str, Any]:
    """Return the result of one experiment, which ends with this process, or {"error": its last lines}."""
    host = socket.gethostname()
    try:
        if "folder" not in task:
            set_up_node(task)
        log = Path(task["folder"], "logs", f"{task['name']}.log")
        output = watched(task, [task["python"], "-m", "tools.sweep.task", json.dumps(task)], Path(task["source"]), log)
        return {"host": host, **json.loads(output.splitlines()[-1])}
    except FailedError as failed:
        return {"host": host, "error": failed.lines, "log": str(failed.log)}
    except OSError as error:
        return {"host": host, "error": [str(error)]}


def free_memory() -> list[int]:
    """Return the free memory of each GPU of this machine in MB, nothing if it cannot be read."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.split()
        return [int(line) * 2**20 // 10**6 for line in lines]
    except (OSError, ValueError, subprocess.CalledProcessError):
        return []


def set_up_node(task: dict[str, Any]) -> None:
    """Clone the commit into this machine's cache, with an environment. The first task does it while others wait."""
    from filelock import FileLock  # Ray has installed it

    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "cifar10-sweep" / hashlib.sha256(task["url"].encode()).hexdigest()[:12]
    source = folder / task["commit"][:12]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{source.name}.lock"):
        if not (source / ".venv/ready").exists():
            shutil.rmtree(source, ignore_errors=True)
            log = folder / "logs" / "setup.log"
            watched(task, ["git", "clone", "--quiet", task["url"], str(source)], folder, log)
            watched(task, ["git", "checkout", "--quiet", "--detach", task["commit"]], source, log)
            build = "gpu" if free_memory() else task["torch"]
            watched(task, ["env", f"TORCH={build}", f"LOCKS={LOCKS}", "bash", "setup.sh"], source, log)
            (source / ".venv/ready").touch()
    shared = {"cache": str(folder / "cache"), "checkpoints": str(folder / "checkpoints"), "config": ""}
    task |= {"folder": str(folder), "source": str(source), "python": str(source / ".venv/bin/python"), **shared}


def watched(task: dict[str, Any], command: list[str], folder: Path, log: Path) -> str:
    """Return what the command prints, and log its errors. tools/session.py runs it, so that it cannot outlive us."""
    rays = ("RAY_", "OMP_", "VIRTUAL_ENV", *foreign())  # set by Ray, of the environment that Ray is in, or the user's
    environment = {name: value for name, value in os.environ.items() if not name.startswith(rays)}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors, tempfile.TemporaryFile() as output:
        command, pipe = [sys.executable, "-c", task["session"], *command], subprocess.PIPE  # it closes when we die
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=pipe, stdout=output, stderr=errors, start_new_session=True
        )
        try:
            while process.poll() is None:  # no blocking call: Ray could not interrupt it
                time.sleep(0.2)
        finally:
            process.communicate()
        output.seek(0)
        if process.returncode:
            raise FailedError(log)
        return output.read().decode("utf-8", "replace")
