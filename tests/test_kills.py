"""Killed at any moment, by any signal, a stage or DVC: the same command ends with the bytes of an undisturbed run.

Twenty-one kills hit stages that are forked from this process, which spares them the seconds of their imports; those of
`make kills` hit `dvc repro` and what it started.
"""

import faulthandler
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals

import numpy as np
import psutil
import pytest

from tests.clone import Clone
from tests.stage_functions import STAGES, forked, in_a_fork

COMMANDS = (("dvc", "repro"), ("dvc", "exp", "run", "--force", "--name", "experiment"))
# Who is hit, by what; DVC itself ignores Ctrl-C while a stage runs.
WAYS = [("dvc", SIGKILL), ("dvc", SIGTERM), *product(("stage", "both"), (SIGKILL, SIGTERM, SIGINT))]


def test_a_stage_killed_anywhere_ends_with_the_same_bytes(tmp_path: Path) -> None:
    random, seconds, kills = np.random.default_rng(0), {}, Counter[str]()
    undisturbed = Clone.make(tmp_path / "undisturbed")
    for stage in STAGES:
        started = time.monotonic()
        in_a_fork(undisturbed, stage)
        seconds[stage] = time.monotonic() - started
    killed = Clone.make(tmp_path / "elsewhere" / "killed")
    for stage in STAGES:
        while kills[stage] < (6 if stage == "train" else 3):  # by each signal as often
            process, how = forked(killed, stage), (SIGKILL, SIGTERM, SIGINT)[kills[stage] % 3]
            process.join(random.uniform(0, seconds[stage]))
            if process.is_alive():
                os.kill(process.pid or 0, how)
            process.join()
            if process.exitcode:
                kills[stage] += 1
            else:
                seconds[stage] *= 0.8  # whatever else this machine did while they were measured
            assert process.exitcode in (0, -how, 128 + how)
        in_a_fork(killed, stage)
    assert killed.outputs() == undisturbed.outputs()
    assert not list((killed.path / "checkpoints").glob("*"))
    log = (killed.path.parent / "log").read_text()
    assert "Traceback" not in log
    assert "resuming after epoch" in log


def test_what_the_whole_group_gets_saves_the_step_under_way(clone: Clone) -> None:
    """A shell or a terminal signals the group, with the workers in it; the training must not die of theirs."""
    log = clone.path.parent / "log"
    clone.set_params(epochs=1000, workers=2)
    log.touch()
    for what in ("SIGTERM", "SIGHUP", "lost terminal", "SIGKILL"):  # each training resumes the one before
        terminal = os.openpty() if what == "lost terminal" else None
        before = set(clone.path.glob("checkpoints/*/*.pt"))
        process = forked(clone, "train", terminal)
        workers: list[psutil.Process] = []
        while set(clone.path.glob("checkpoints/*/*.pt")) <= before or len(workers) < 2:  # an epoch is saved
            assert process.is_alive(), log.read_text()
            workers = [each for each in psutil.Process(process.pid).children() if has_left(each.pid)]
            time.sleep(0.01)
        if terminal:
            os.close(terminal[1])
            os.close(terminal[0])
        else:
            os.killpg(process.pid or 0, Signals[what])
        process.join(60)
        process.kill()  # where it lives on, the tests must not
        how = SIGHUP if terminal else Signals[what]
        assert process.exitcode == (-SIGKILL if how == SIGKILL else 128 + how)
        assert how == SIGKILL or not psutil.wait_procs(workers, timeout=10)[1]
    text = log.read_text()
    assert re.findall(r"error: train: stopped by (\w+) after epoch ", text) == ["SIGTERM", "SIGHUP"]
    assert len(re.findall(r"resuming after epoch [1-9]", text)) == 2  # and another on the terminal
    assert "Traceback" not in text


def has_left(pid: int) -> bool:
    """Whether a worker has left the group, as it does first of all."""
    with suppress(ProcessLookupError):
        return os.getpgid(pid) == pid
    return False


def repair(clone: Clone) -> int:
    """What DVC cannot repair by itself, see docs/reproducibility.md: it empties its lock file before it writes it."""
    lock = clone.path / ".dvc/tmp/rwlock"
    empty = lock.exists() and not lock.read_text()
    if empty:
        lock.unlink()
    return int(empty)


def left(clone: Clone) -> set[str]:
    """Files that differ from the commit, or are new."""
    return {line[3:] for line in clone.run("git", "status", "--porcelain", "-uall").splitlines()} - {"params.yaml"}


def kill(
    clone: Clone, command: Sequence[str], stage: str, delay: float, who: str, how: Signals
) -> tuple[str | None, str]:
    """Start `command`, kill it `delay` seconds into `stage`; the stage hit, None where all had ended; the output."""
    process = clone.start(*command)
    output = clone.read_until(process, f"Running stage '{stage}'")
    time.sleep(delay)
    hit = "no stage"
    with suppress(psutil.NoSuchProcess):
        dvc = psutil.Process(process.pid)
        stages = dvc.children(recursive=True)
        hit = next((child.cmdline()[-1] for child in stages if "stages" in child.cmdline()), hit)
        for each in {"dvc": [dvc], "stage": stages, "both": [dvc, *stages]}[who]:
            each.send_signal(how)
    # Ends when the stage, which writes to the same pipe, has ended too: it does not run on without DVC.
    output += process.communicate(timeout=100)[0]
    return (hit if process.returncode != 0 else None), output


@pytest.fixture
def wanted(request: pytest.FixtureRequest) -> int:
    """The kills asked for."""
    kills: int = request.config.getoption("--kills")
    if not kills:
        pytest.skip("takes 20 seconds a kill: make kills")
    return kills


def test_dvc_killed_anywhere_it_ends_with_the_same_bytes(
    wanted: int, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each stage of a run is killed once; another path, another number of workers, another time.

    Every second run is an experiment, which leaves refs of its own. It must be listed at the end, also if git packs its
    refs in between (treeverse/dvc#9260).
    """
    random = np.random.default_rng(0)
    undisturbed = Clone.make(tmp_path_factory.mktemp("undisturbed") / "run")
    process, seconds = undisturbed.start("dvc", "repro"), dict[str, float]()
    Clone.read_until(process, "Running stage")
    for stage in STAGES:
        started = time.monotonic()
        Clone.read_until(process, "Running stage")
        seconds[stage] = time.monotonic() - started
    process.communicate()
    assert process.returncode == 0
    expected = undisturbed.outputs()
    resumed, runs, repaired, done = 0, 0, 0, Counter[str]()
    while done.total() < wanted:
        assert sys.__stderr__
        faulthandler.dump_traceback_later(600, exit=True, file=sys.__stderr__)  # pytest's guard, for each run again
        killed = Clone.make(tmp_path_factory.mktemp("killed") / f"run {runs}", workers=1)
        command, outputs = COMMANDS[runs % 2], []
        for stage in STAGES:
            repaired += repair(killed)
            who, how = WAYS[random.integers(len(WAYS))]
            if "exp" in command:
                killed.run("git", "pack-refs", "--all")
            hit, output = kill(killed, command, stage, random.uniform(0, 0.9 * seconds[stage]), who, how)
            outputs.append(output)
            done.update([f"{hit}: {who} by {how.name}"] if hit else [])
        repaired += repair(killed)
        outputs.append(killed.run(*command))
        if "exp" in command:
            assert "experiment" in killed.run("dvc", "exp", "list", "--name-only").split()
        runs += 1
        resumed += sum("resuming after epoch" in output for output in outputs)
        assert killed.outputs() == expected
        assert left(killed) == left(undisturbed)  # nothing else is left behind
        assert not list((killed.path / "checkpoints").glob("*"))
        with capsys.disabled():
            print(f"\n{done.total()} kills in {runs} runs, {resumed} resumed trainings, {repaired} locks repaired")
    with capsys.disabled():
        print(dict(sorted(done.items())))
