"""Killed at any moment, by any signal, a stage or DVC: the same command ends with the bytes of an undisturbed run.

Twenty kills hit stages that are forked from this process, which spares them the seconds of their imports; those of
`make kills` hit `dvc repro` and what it started.
"""

import os
import sys
import time
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIG_DFL, SIGINT, SIGKILL, SIGTERM, Signals, signal

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
    before = signal(SIGINT, SIG_DFL)  # as a stage begins, see stages/__init__.py
    process.start()
    signal(SIGINT, before)
    return process


def test_a_stage_killed_anywhere_ends_with_the_same_bytes(tmp_path: Path) -> None:
    random, seconds, kills = np.random.default_rng(0), {}, Counter[str]()
    undisturbed = Clone(tmp_path / "undisturbed", epochs=2)
    for stage in STAGES:
        started, process = time.monotonic(), forked(undisturbed, stage)
        process.join()
        assert process.exitcode == 0
        seconds[stage] = time.monotonic() - started
    killed = Clone(tmp_path / "elsewhere" / "killed", epochs=2)
    for stage in STAGES:
        while kills[stage] < (8 if stage == "train" else 4):
            process, how = forked(killed, stage), (SIGKILL, SIGTERM, SIGINT)[random.integers(3)]
            time.sleep(random.uniform(0, seconds[stage]))
            os.kill(process.pid or 0, how)
            process.join()
            kills[stage] += process.exitcode != 0
            assert process.exitcode in (0, -how, 128 + how)
        process = forked(killed, stage)
        process.join()
        assert process.exitcode == 0
    assert killed.outputs() == undisturbed.outputs()
    assert not list((killed.path / "checkpoints").glob("*"))
    log = (killed.path.parent / "log").read_text()
    assert "Traceback" not in log
    assert "going on after epoch" in log


def heal(clone: Clone) -> int:
    """What DVC cannot mend by itself, as the README says: it empties its lock file before it writes it anew."""
    lock = clone.path / ".dvc/tmp/rwlock"
    empty = lock.exists() and not lock.read_text()
    if empty:
        lock.unlink()
    return int(empty)


def kill(clone: Clone, stage: str, delay: float, who: str, how: Signals) -> tuple[str | None, str]:
    """Start `dvc repro`, kill it `delay` seconds into `stage`; the stage hit, None where all had ended; the output."""
    process = clone.start("dvc", "repro")
    output = clone.read_until(process, f"Running stage '{stage}'")
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


@pytest.fixture
def wanted(request: pytest.FixtureRequest) -> int:
    """The kills asked for; before the clone is made, which takes a while."""
    kills: int = request.config.getoption("--kills")
    if not kills:
        pytest.skip("takes 20 seconds a kill: make kills")
    return kills


def test_dvc_killed_anywhere_it_ends_with_the_same_bytes(
    wanted: int,
    clone: Clone,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each stage of a run is killed once; another path, another number of workers, another time."""
    random = np.random.default_rng(0)
    expected, seconds = clone.outputs(), clone.seconds
    resumed, runs, healed, done = 0, 0, 0, Counter[str]()
    while done.total() < wanted:
        killed = Clone(tmp_path_factory.mktemp("killed") / f"run {runs}", epochs=2, workers=1)
        outputs = []
        for stage in STAGES:
            healed += heal(killed)
            who, how = WAYS[random.integers(len(WAYS))]
            hit, output = kill(killed, stage, random.uniform(0, 0.9 * seconds[stage]), who, how)
            outputs.append(output)
            done.update([f"{hit}: {who} by {how.name}"] if hit else [])
        healed += heal(killed)
        outputs.append(killed.repro()[0])
        runs += 1
        resumed += sum("going on after epoch" in output for output in outputs)
        assert killed.outputs() == expected
        assert "??" not in killed.run("git", "status", "--porcelain", "-uall")  # nothing is left behind
        assert not list((killed.path / "checkpoints").glob("*"))
        with capsys.disabled():
            print(f"\n{done.total()} kills in {runs} runs, {resumed} resumed trainings, {healed} locks mended")
    with capsys.disabled():
        print(dict(sorted(done.items())))
