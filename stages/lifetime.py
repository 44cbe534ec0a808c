"""How long a stage's process lives: no longer than DVC, until a signal, and alone in its place."""

import ctypes
import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from cifar10.disk import free_space
from cifar10.errors import UserError

PATIENCE = 10.0  # seconds, for a process that is just ending


def end_with_dvc() -> None:
    """End this process, by SIGTERM, when the one that started it has died; on Linux only.

    DVC does not pass on the signals that end it, and its stage would run on, beside the one that the next DVC starts.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends them, without a traceback
    if platform.system() == "Linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def stop_signals() -> list[signal.Signals]:
    """The signals that ask this process to stop; SIGHUP, a lost terminal, is not one where nohup has it ignored."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hangup]


@contextmanager
def noted_signals() -> Iterator[Callable[[], int]]:
    """The number of the signal that has come, or 0: noted, so that work can end where it can be resumed.

    A second Ctrl-C ends the process at once; a second SIGTERM does not, as it is often the death of DVC by the first.
    """
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if noted and number == signal.SIGINT:
            raise SystemExit(128 + number)
        noted.append(number)

    before = {number: signal.signal(number, note) for number in stop_signals()}
    try:
        yield lambda: noted[0] if noted else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold `lock`, for as long as this process lives at most; UserError names the process that holds it already."""
    guard = FileLock(lock, timeout=PATIENCE)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        guard.acquire()
        lock.write_text(str(os.getpid()))
    except Timeout:
        holder = lock.read_text()
        raise UserError(
            f"{lock}: is already running (process {holder}); wait for it or stop it: kill {holder}"
        ) from None
    except OSError as error:
        raise UserError(f"{lock}: cannot be written: {error.strerror}; {free_space(lock)} free") from None
    try:
        yield
    finally:
        guard.release()


def is_held(lock: Path) -> bool:
    """Whether a living process holds `lock`."""
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
