"""Measure trainings on a GPU: one alone, and many at once as `make sweep PER_GPU=16` runs them, in five minutes.

Each training is the stage train in a copy of the working tree, on random pictures, so its start, its validation and its
files count as well. `--count 2 --epochs 2 --images 4000` tries the script on a CPU, where the number of threads changes
the networks.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.processes import set_params, with_recipe
from benchmarks.tutorial import pictures
from cifar10.core.errors import UserError
from cifar10.core.files import file_digest
from cifar10.core.params_file import parse_params
from cifar10.machine.cores import physical_cores
from stages.support.formats import write_json, write_split
from tools.repository import copy_working_tree, running_python
from tools.start import argument_parser, run_tool
from tools.sweep.node import free_memory
from tools.sweep.placement import placed
from tools.sweep.plan import Experiment

EPOCH = re.compile(r"^epoch .* ([\d,]+) images/s, ([\d.]+) s", re.MULTILINE)  # a line of the training's log


class Run(NamedTuple):
    speeds: list[float]  # images a second in each epoch, validation not included
    seconds: list[float]  # of each epoch, validation included, but not its files
    network: str  # sha256 of models/model.safetensors


def run_at_once(settings: Sequence[dict[str, object]], images: int) -> tuple[list[Run], float, float]:
    """Return what each training did, the seconds until all had ended, and the MB of the GPU that each took."""
    with TemporaryDirectory() as data, TemporaryDirectory() as folder:
        write_split(f"{data}/train", pictures(images))
        write_json(f"{data}/classes.json", [str(label) for label in range(10)])
        Path(data, "start.safetensors").write_text("none\n", encoding="utf-8")
        copies = [Path(folder, str(i)) for i in range(len(settings))]
        for copy, values in zip(copies, settings, strict=True):
            copy_working_tree(copy)
            set_params(str(copy), device="auto", precision="auto", **values)
            (copy / "data").symlink_to(data)
        subprocess.run([sys.executable, "-m", "stages.compute_stats"], cwd=copies[0], check=True)
        for copy in copies[1:]:
            shutil.copy(copies[0] / "metrics/dataset.json", copy / "metrics")
        before, least, started = sum(free_memory()), float("inf"), time.perf_counter()
        with ExitStack() as stack:
            running = [stack.enter_context(running_python(copy, "-m", "stages.train")) for copy in copies]
            while any(process.poll() is None for process in running):
                least = min(least, sum(free_memory()))
                time.sleep(0.2)
        seconds = time.perf_counter() - started
        runs = [finished(copy, process) for copy, process in zip(copies, running, strict=True)]
        return runs, seconds, (before - least) / len(settings)


def finished(copy: Path, process: "subprocess.Popen[bytes]") -> Run:
    log = (copy / "log").read_text(encoding="utf-8")
    if process.returncode:
        raise SystemExit(log)
    epochs = EPOCH.findall(log)
    speeds, seconds = [float(speed.replace(",", "")) for speed, _ in epochs], [float(each) for _, each in epochs]
    return Run(speeds, seconds, file_digest(copy / "models/model.safetensors"))


def main() -> None:
    parser = argument_parser(__doc__)
    for name, default in {"count": 16, "epochs": 35, "images": 50_000}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    if arguments.count < 1 or arguments.epochs < 2 or arguments.images < 1_000:
        raise UserError("--count must be >= 1, --epochs >= 2, --images >= 1000")
    measure(**vars(arguments))


def measure(count: int, epochs: int, images: int) -> None:
    """Print the times of `count` trainings. A tenth of the `images` is held out."""
    size: dict[str, object] = {"epochs": epochs, "validation_size": images // 10}
    trained = images - images // 10

    (alone,), seconds, memory = run_at_once([size], images)
    speed, epoch = median(alone.speeds), median(alone.seconds[1:])
    print(f"one training, {epochs} epochs: {seconds:.1f} s, {memory:,.0f} MB of the GPU")
    print(f"  the first epoch {alone.seconds[0]:.1f} s, each other {epoch:.2f} s, {speed:,.0f} images/s")
    print(f"  validation and recalibration {epoch - trained / speed:.2f} s an epoch")
    print(f"  start of the program and files of all epochs {seconds - sum(alone.seconds):.1f} s", flush=True)
    for name, change in {"without SAM": ("sam_rho", 0.0), "plateau": ("schedule", "plateau")}.items():
        (other,), _, _ = run_at_once([size | dict([change]) | {"epochs": 2}], images)
        print(f"  {name}: {other.speeds[-1]:,.0f} images/s in the second epoch", flush=True)

    one = Experiment("", {}, parse_params(with_recipe("default")).model_dump() | {"threads": "auto", "workers": "auto"})
    share = placed(one, gpus=True, per_gpu=count, cores=physical_cores()).changes
    runs, seconds, memory = run_at_once([size | share | {"seed": seed} for seed in range(count)], images)
    print(f"{count} trainings at once, {epochs} epochs: {seconds:.1f} s, {memory:,.0f} MB of the GPU for each")
    print(f"  in all {count * epochs * trained / seconds:,.0f} images/s, start and validation included")
    print(f"  without them {sum(median(run.speeds) for run in runs):,.0f} images/s")
    print(f"  the network of seed 0 is {'the same' if runs[0].network == alone.network else 'NOT THE SAME'} as alone")


if __name__ == "__main__":
    run_tool("bench_gpu", main)
