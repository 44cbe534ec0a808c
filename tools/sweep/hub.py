"""Hand the experiments to Ray, on the machine that the sweep is started on, and report how far they are."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # no network
os.environ.setdefault("RAY_AUTH_MODE", "token")  # who has no token could run code on every machine

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tqdm import tqdm

from cifar10.core import environment
from cifar10.core.errors import UserError
from cifar10.machine.cores import physical_cores
from tools import session
from tools.repository import DVC, git, keep_data_mirror
from tools.sweep import node
from tools.sweep.placement import Machine, Placed, place
from tools.sweep.plan import Experiment
from tools.sweep.refs import arrived, pull

FOLDER = Path(".dvc/tmp/sweep")
TRIES = 3  # further ones, where a machine is lost

for module in (node, environment):  # the other machines have none of this repository
    ray.cloudpickle.register_pickle_by_value(module)


def run_experiments(
    experiments: Sequence[Experiment], commit: str, url: str, address: str | None, per_gpu: int
) -> dict[str, str]:
    """Run the experiments, here or on the cluster at `address`. Return why each failed one did, by its name."""
    task = {
        "url": url,
        "commit": commit,
        "remote": bool(address),
        "data_only": False,
        "user": git("var", "GIT_COMMITTER_IDENT").rpartition(">")[0].split(" <"),
        "torch": "cpu" if list(Path(sys.prefix).glob("installed-cpu*")) else "gpu",
        "session": Path(session.__file__).read_text(encoding="utf-8"),
    }
    here = task | {
        "folder": str(FOLDER.absolute()),
        "source": str(source(commit)),
        "config": str(Path(".dvc/config.local").absolute()),
        "python": sys.executable,
        "cache": subprocess.check_output([DVC, "cache", "dir"], encoding="utf-8").strip(),
        "checkpoints": str(Path("checkpoints").absolute()),
    }
    connect(address)
    try:
        machines = [each for each in ray.nodes() if each["Alive"]]
        placement = place(experiments, per_gpu, machines, free_memory)
        prepare_data(experiments, here)
        return watch(placement, task if address else here)
    finally:
        ray.shutdown()


def source(commit: str) -> Path:
    """Clone the commit, so that this machine runs it whatever is edited in the workspace, and return the folder."""
    folder = (FOLDER / commit[:12]).absolute()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            git("clone", "--quiet", "--shared", "--no-checkout", ".", f"{name}/clone")
            git("-C", f"{name}/clone", "checkout", "--quiet", "--detach", commit)
            try:
                Path(name, "clone").rename(folder)  # whole, or not at all
            except OSError:
                if not folder.exists():  # no other sweep was faster
                    raise
    return folder


def prepare_data(experiments: Sequence[Experiment], task: dict[str, Any]) -> None:
    """Download the data once, here, as other machines take it from the DVC remote."""
    keep_data_mirror()
    for dataset, first in {each.params["dataset"]: each for each in reversed(experiments)}.items():
        data = task | {"name": f"data-{dataset}", "changes": first.changes, "data_only": True}
        print(f"sweep: preparing the data of {dataset}", flush=True)
        command = [sys.executable, "-m", "tools.sweep.task", json.dumps(data)]
        if session.run_session(command, lambda: False, cwd=Path(task["source"])):
            raise UserError(f"the data of {dataset} could not be prepared, see above")


def connect(address: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if not address:  # a Ray of our own, which ends with us; two experiments would slow each other down on one core
        options |= {
            "num_cpus": physical_cores(),
            "include_dashboard": False,
            "object_store_memory": 100_000_000,
            # Ray's sockets lie there, and the name of a socket has at most 107 characters: TMPDIR may be too long.
            "_temp_dir": "/tmp/ray",
        }
    print("sweep: starting Ray" if not address else f"sweep: connecting to Ray at {address}", flush=True)
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"no Ray at {address}" if address else "Ray cannot be started here"
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None


def free_memory(machine: Machine) -> list[int]:
    """Return the free memory of each GPU of a machine of the cluster in MB."""
    there = NodeAffinitySchedulingStrategy(machine["NodeID"], soft=False)
    found: list[int] = ray.get(ray.remote(num_cpus=0, scheduling_strategy=there)(node.free_memory).remote())
    return found


def watch(placement: Sequence[Placed], task: dict[str, Any]) -> dict[str, str]:
    submit = ray.remote(max_retries=TRIES)(node.run_on_node)
    waiting = {
        submit.options(**each.resources).remote(task | {"name": each.name, "changes": each.changes}): each.name
        for each in placement
    }
    total, failed, seconds = len(waiting), dict[str, str](), list[float]()
    with tqdm(total=total, unit="experiment", disable=None, dynamic_ncols=True) as bar:
        try:
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=1)
                if not done:
                    continue
                results = {waiting.pop(ref): result(ref) for ref in done}
                if task["remote"]:
                    try:
                        pull([name for name, found in results.items() if "error" not in found])
                    except UserError as error:  # the next start pulls them
                        print(f"warning: sweep: {error}", file=sys.stderr)
                for name in results.keys() - arrived(task["commit"], results, fetch=False):
                    failed[name] = " ".join(results[name].get("error", ["it has not arrived"]))
                at_once = max(1, slots(placement))
                state = f"{min(len(waiting), at_once)} running, {len(failed)} failed"
                for name, found in results.items():
                    bar.write(line(name, found), file=sys.stdout)
                if bar.disable:  # a log file
                    seconds += [found["seconds"] for found in results.values() if "seconds" in found]
                    left = math.ceil(len(waiting) / at_once) * mean(seconds) / 60 if seconds else 0
                    time_left = f", at most {math.ceil(left)} min left" if left else ""
                    print(f"sweep: {total - len(waiting)} of {total} done, {state}{time_left}", flush=True)
                bar.update(len(results))
                bar.set_postfix_str(state)
        except BaseException:
            print("sweep: stopping; the same command resumes it", file=sys.stderr)
            for ref in waiting:
                ray.cancel(ref)
            ray.wait(list(waiting), num_returns=len(waiting), timeout=30)  # trainings save their state
            raise
    return failed


def slots(placement: Sequence[Placed]) -> int:
    """Return how many experiments the machines that are left run at once, each as large as the largest."""
    found = ray.cluster_resources()
    return min(
        int(found.get(name, 0) / most)
        for name, key in (("GPU", "num_gpus"), ("CPU", "num_cpus"))
        if (most := max(each.resources.get(key, 0) for each in placement))
    )


def result(ref: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ray.get(ref)
    except ray.exceptions.RayError as error:  # its machine is lost, and so were those that tried again
        return {"host": "a lost machine", "error": str(error).splitlines()[-1:]}
    return found


def line(name: str, found: dict[str, Any]) -> str:
    """Return what came of one experiment, for a person to read."""
    if "error" in found:
        log = [f"all of it: {found['log']}"] if "log" in found else []
        return "\n    | ".join([f"{name}: failed on {found['host']}", *found["error"], *log])
    names = [key for key in ("accuracy", "validation_accuracy", "seconds") if key in found]
    numbers = [f"{key.replace('_', ' ')} {found[key]}" for key in names]
    return ", ".join([f"{name}: {found.get('note', 'done')} on {found['host']}", *numbers])
