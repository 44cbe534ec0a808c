"""Measure the stages as processes: their imports, their time under DVC, their memory."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from subprocess import DEVNULL
from tempfile import TemporaryDirectory

from benchmarks.tutorial import timed
from cifar10.core.data import Split
from stages.support.formats import declared_stages, write_json, write_split
from tools.params_editor import edited
from tools.recipe import overrides
from tools.records import workspace_params
from tools.repository import DVC, copy_working_tree

HEAVY = ("torch", "torchvision", "albumentations", "sklearn", "matplotlib")
PRINT_STATUS = "print(open('/proc/self/status').read())"


def run(*command: str, cwd: str = ".") -> float:
    """Run `command`; return the seconds that it took."""
    return timed(lambda: subprocess.run(command, cwd=cwd, check=True, stdout=DEVNULL, stderr=DEVNULL))


def with_recipe(name: str, folder: str = ".", **values: object) -> str:
    """Return params.yaml of `folder` with a recipe and these values; device, precision, threads and workers stay."""
    text, _ = workspace_params(folder)
    return edited(text, overrides(name, "0") | values)


def set_params(folder: str, **values: object) -> None:
    """Write the default recipe with these values to params.yaml, whatever it held."""
    Path(folder, "params.yaml").write_text(with_recipe("default", folder, **values), encoding="utf-8")


def imports() -> Iterator[tuple[str, float, list[str]]]:
    """Yield each stage's name, the seconds to import it, and the heavy libraries that it loads."""
    bare = median(run(sys.executable, "-c", "") for _ in range(5))
    for stage in declared_stages():
        seconds = median(run(sys.executable, "-c", f"import stages.{stage}") for _ in range(5)) - bare
        code = f"import sys, stages.{stage}; print(*(name for name in {HEAVY} if name in sys.modules))"
        loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8").stdout
        yield stage, seconds, loaded.split()


def pipeline() -> Iterator[tuple[str, float]]:
    """Yield the seconds, in a copy, of each stage on digits, of `dvc repro` with nothing to do, and without stages."""
    with TemporaryDirectory() as folder:
        copy_working_tree(Path(folder))
        set_params(folder, dataset="digits", validation_size=200, epochs=2)
        for stage in declared_stages():
            yield f"dvc repro -s {stage}", run(DVC, "repro", "-s", stage, cwd=folder)
        yield "dvc repro, nothing to do", median(run(DVC, "repro", cwd=folder) for _ in range(5))
        Path(folder, "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
        yield "dvc repro without any stage", median(run(DVC, "repro", cwd=folder) for _ in range(5))


def memory(train: Split, test: Split) -> Iterator[tuple[str, float]]:
    """Yield the peak resident memory, in MB, of train and evaluate on these pictures, in one epoch."""
    with TemporaryDirectory() as folder:
        copy_working_tree(Path(folder))
        set_params(folder, epochs=1)
        for name, split in (("train", train), ("test", test)):
            write_split(f"{folder}/data/{name}", split)
        write_json(f"{folder}/data/classes.json", [str(label) for label in range(10)])
        subprocess.run([sys.executable, "-m", "stages.compute_stats"], cwd=folder, check=True)
        for stage in ("train", "evaluate"):
            # The peak that getrusage reports for a child starts with the size of this process.
            code = f"import runpy; runpy.run_module('stages.{stage}', run_name='__main__'); {PRINT_STATUS}"
            command = [sys.executable, "-c", code]
            output = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8").stdout
            yield stage, int(re.findall(r"VmHWM:\s+(\d+) kB", output)[-1]) * 1024 / 1e6
