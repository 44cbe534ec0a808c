"""Stop a stage when DVC dies or a signal comes."""

import ctypes
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cifar10.core.stop import Stop


def end_with_dvc() -> None:
    """Make Linux send SIGTERM to this process when DVC, which started it, dies.

    DVC does not pass on the signal that ends it. The stage would keep running beside the one that the next DVC starts.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports prints no traceback
    if platform.system() == "Linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask this process to stop: not SIGHUP, a lost terminal, if nohup ignores it."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hangup]


@contextmanager
def noted_signals() -> Iterator[Stop]:
    """Yield a Stop, which notes the signals that come, so that work stops at a safe point.

    A second Ctrl-C ends the process at once. A second SIGTERM does not, because it comes when DVC dies of the first.
    """
    stop = Stop()

    def note(number: int, _: FrameType | None) -> None:
        if stop.number and number == signal.SIGINT:
            raise SystemExit(128 + number)
        stop.note(number)

    before = {number: signal.signal(number, note) for number in stop_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
