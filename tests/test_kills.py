"""Killed at any moment, by any signal, a stage or DVC: the same command ends with the bytes of an undisturbed run.

Most kills hit stages that are forked from this process, which spares them the seconds of their imports; some hit
`dvc repro` and what it started, `make kills` 200 of them.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import numpy as np
import psutil
import pytest

from stages.compute_stats import compute_stats
from stages.download import download
from stages.entry import run as run_stage
from stages.evaluate import evaluate
from stages.train import train_stage
from tests.clone import Clone

STAGES = {"download": download, "compute_stats": compute_stats, "train": train_stage, "evaluate": evaluate}
WAYS = [  # who is hit, by what; DVC itself ignores Ctrl-C while a stage runs
    ("dvc", SIGKILL),
    ("dvc", SIGTERM),
    ("stage", SIGKILL),
    ("stage", SIGTERM),
    ("stage", SIGINT),
    ("both", SIGKILL),
    ("both", SIGTERM),
    ("both", SIGINT),
]


def forked(clone: Clone, stage: str) -> BaseProcess:
    """The stage, running in the clone as a process of its own, its output in the file `log` beside it."""

    def work() -> None:
        os.chdir(clone.path)
        with (clone.path.parent / "log").open("a", buffering=1) as log:
            sys.stdout = sys.stderr = log
            run_stage(STAGES[stage])

    process = get_context("fork").Process(target=work)
    process.start()
    return process


def test_a_stage_killed_anywhere_ends_with_the_same_bytes(tmp_path: Path) -> None:
    random, seconds, kills = np.random.default_rng(0), {}, Counter[str]()
    undisturbed = Clone(tmp_path / "undisturbed", epochs=2)
    for stage in STAGES:
        started, process = time.monotonic(), forked(undisturbed, stage)
        process.join()
        assert process.exitcode == 0
        seconds[stage] = time.monotonic() - started
    for number in range(2):
        clone = Clone(tmp_path / str(number) / "killed", epochs=2)
        for stage in STAGES:
            wanted = kills[stage] + (4 if stage == "train" else 2)
            while kills[stage] < wanted:
                process, how = forked(clone, stage), (SIGKILL, SIGTERM, SIGINT)[random.integers(3)]
                time.sleep(random.uniform(0, seconds[stage]))
                os.kill(process.pid or 0, how)
                process.join()
                kills[stage] += process.exitcode != 0
                assert process.exitcode in (0, -how, 128 + how)
            process = forked(clone, stage)
            process.join()
            assert process.exitcode == 0
        assert clone.outputs() == undisturbed.outputs()
        log = (clone.path.parent / "log").read_text()
        assert "Traceback" not in log
        assert not list((clone.path / "checkpoints").glob("*"))
    assert "going on after epoch" in log
    assert kills == {"download": 4, "compute_stats": 4, "train": 8, "evaluate": 4}


def start(clone: Clone) -> "subprocess.Popen[str]":
    """`dvc repro`; what DVC cannot mend by itself is mended, as the README says: see healed."""
    lock = clone.path / ".dvc/tmp/rwlock"
    if lock.exists() and not lock.read_text():
        lock.unlink()
        healed.append(str(lock))
    return clone.start("dvc", "repro")


healed: list[str] = []  # DVC truncates its lock file before it writes it anew


def run(clone: Clone) -> tuple[str, dict[str, float]]:
    """The undisturbed `dvc repro`: its output, the seconds of each stage."""
    process, seconds, output, stage, started = start(clone), {}, "", "", 0.0
    assert process.stdout is not None
    for line in process.stdout:
        output += line
        if found := re.match(r"Running stage '(\w+)'", line):
            stage, started = found[1], time.monotonic()
        seconds[stage] = time.monotonic() - started
    process.communicate()
    assert process.returncode == 0, output
    return output, seconds


def kill(clone: Clone, stage: str, delay: float, who: str, how: Signals) -> tuple[str | None, str]:
    """Start `dvc repro`, kill it `delay` seconds into `stage`; the stage hit, None where all had ended; the output."""
    process, output = start(clone), ""
    assert process.stdout is not None
    for line in process.stdout:
        output += line
        if line.startswith(f"Running stage '{stage}'"):
            break
    time.sleep(delay)
    hit = "no stage"
    with suppress(psutil.NoSuchProcess):
        dvc = psutil.Process(process.pid)
        stages = dvc.children(recursive=True)
        hit = next((word for child in stages for word in child.cmdline() if word.startswith("stages.")), hit)
        for each in {"dvc": [dvc], "stage": stages, "both": [dvc, *stages]}[who]:
            each.send_signal(how)
    # Ends when the stage, which writes to the same pipe, has ended too: it does not run on without DVC.
    output += process.communicate(timeout=100)[0]
    return (hit if process.returncode != 0 else None), output


def test_dvc_killed_anywhere_it_ends_with_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each stage of a run is killed once; another path, another number of workers, another time."""
    wanted, random = request.config.getoption("--kills"), np.random.default_rng(0)
    undisturbed = Clone(tmp_path_factory.mktemp("undisturbed") / "clone", epochs=2)
    _, seconds = run(undisturbed)
    expected, status = undisturbed.outputs(), undisturbed.run("git", "status", "--porcelain", "-uall")
    resumed, runs, done = 0, 0, Counter[str]()
    while done.total() < wanted:
        clone = Clone(tmp_path_factory.mktemp("killed") / f"run {runs}", epochs=2, workers=1)
        outputs = []
        for stage in STAGES:
            who, how = WAYS[random.integers(len(WAYS))]
            hit, output = kill(clone, stage, random.uniform(0, 0.9 * seconds[stage]), who, how)
            outputs.append(output)
            done.update([f"{hit}: {who} by {how.name}"] if hit else [])
        outputs.append(run(clone)[0])
        runs += 1
        resumed += sum("going on after epoch" in output for output in outputs)
        assert clone.outputs() == expected
        assert clone.run("git", "status", "--porcelain", "-uall") == status  # nothing is left behind
        assert not list((clone.path / "checkpoints").glob("*"))
        with capsys.disabled():
            print(f"\n{done.total()} kills in {runs} runs, {resumed} resumed trainings, {len(healed)} locks mended")
    with capsys.disabled():
        print(dict(sorted(done.items())))
