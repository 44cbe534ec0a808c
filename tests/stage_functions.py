"""The six stages as functions, for tests that run them in this process or fork it."""

import fcntl
import os
import sys
import termios
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from signal import SIG_DFL, SIGINT, signal
from threading import RLock

import pytest
import sklearn.datasets  # noqa: F401 # the stages import these three late, for seconds in each fork
import sklearn.model_selection  # noqa: F401
import torch._dynamo  # noqa: F401
from tqdm import tqdm

from cifar10.core.params import Params
from stages.compute_stats import compute_stats
from stages.download import download
from stages.draw import draw
from stages.evaluate import evaluate
from stages.export import export
from stages.support.start import run_stage
from stages.train import train_stage
from tests.clone import Clone

STAGES = {
    "download": download,
    "compute_stats": compute_stats,
    "train": train_stage,
    "evaluate": evaluate,
    "draw": draw,
    "export": export,
}


def refused(stage: Callable[[Params], None], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """What a stage that must end with this exit code says on standard error."""
    with pytest.raises(SystemExit) as stop:
        run_stage(stage)
    assert stop.value.code == code
    return capsys.readouterr().err


def forked(clone: Clone, stage: str, terminal: tuple[int, int] | None = None) -> BaseProcess:
    """The stage in the clone, as a process and group of its own; its output goes to the terminal or to `log`."""

    def work() -> None:
        os.setsid()
        tqdm.set_lock(RLock())  # the one inherited is shared: killed with it, this process would stop all later ones
        os.chdir(clone.path)
        if terminal:
            os.close(terminal[0])  # the test's end
            fcntl.ioctl(terminal[1], termios.TIOCSCTTY, 0)  # the session's terminal: when it goes, SIGHUP comes
        target = terminal[1] if terminal else clone.path.parent / "log"
        sys.stdout = sys.stderr = open(target, "a", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115 # a descriptor; until the end
        run_stage(STAGES[stage])

    process = get_context("fork").Process(target=work)
    before = signal(SIGINT, SIG_DFL)  # as a stage begins, see end_with_dvc
    process.start()
    signal(SIGINT, before)
    return process


def in_a_fork(clone: Clone, stage: str) -> None:
    """Run the stage to its end there."""
    process = forked(clone, stage)
    process.join()
    assert process.exitcode == 0, (clone.path.parent / "log").read_text(encoding="utf-8")
