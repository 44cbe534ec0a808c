"""Count the processor's cores, bind a thread to each, and take turns on them with other trainings."""

import os
import socket
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from joblib import cpu_count

PATIENCE = 10.0  # seconds; a training that Ctrl-Z stopped during its turn must not block other trainings
QUEUE = "\0cifar10 next"


def physical_cores() -> int:
    """Return the number of physical cores that this process may use by its affinity and its container's quota."""
    return int(cpu_count(only_physical_cores=True))


def own_cores() -> frozenset[int]:
    """Return the numbers of the logical cores that this process may run on, none if the system is not Linux."""
    return frozenset(os.sched_getaffinity(0) if sys.platform == "linux" else ())


def pin(threads: int, cores: Collection[int]) -> None:
    """Bind each of PyTorch's threads to one of `cores`, if there are as many.

    Two threads that share a core wait for each other at every barrier. Beside two busy processes, a training kept
    3 % of its speed, with bound threads a quarter.
    """
    if 1 < threads == len(cores) == cpu_count():
        import torch  # imported here, because the sweep's hub counts cores without PyTorch

        tasks = Path("/proc/self/task")
        before = set(tasks.iterdir())
        torch.zeros(1_000_000).add_(1)  # a first parallel operation starts the threads
        started = [int(thread.name) for thread in set(tasks.iterdir()) - before]
        if len(started) == threads - 1:
            for thread, core in zip([0, *started], cores, strict=True):  # 0 is this thread
                os.sched_setaffinity(thread, {core})


class Turn:
    """Keep other trainings off this one's `threads` cores inside `with turn:`, on Linux.

    Two trainings on the same cores lose most of their time, because a thread that waits at a barrier spins and keeps
    its core from the thread that it waits for. So they take turns, a step each. After PATIENCE seconds without its
    cores, a training stops waiting for good. To have a core is to own its name in the system's abstract socket
    namespace. The system frees the name when this process dies.
    """

    def __init__(self, threads: int, cores: Collection[int]) -> None:
        self.names = [f"\0cifar10 core {core}" for core in sorted(cores)[: cpu_count()]]
        self.threads, self.patience = min(threads, len(self.names)), PATIENCE
        self.held: list[socket.socket] = []
        self.crowd = Crowd() if self.threads > 1 else None

    def __enter__(self) -> None:
        if self.crowd:
            self.crowd.warn()
        give_up, first = time.monotonic() + self.patience, None
        while len(self.held) < self.threads:
            first = first or _taken(QUEUE)  # the first waits for cores, all others to be first
            for name in self.names if first else ():
                if len(self.held) < self.threads and (core := _taken(name)):
                    self.held.append(core)
            if time.monotonic() > give_up:
                self.patience = 0.0
                break
            if len(self.held) < self.threads:
                time.sleep(0.0005)
        if first:
            first.close()

    def __exit__(self, *_: object) -> None:
        for core in self.held:
            core.close()
        self.held = []


def _taken(name: str) -> socket.socket | None:
    """Take `name` until the returned socket is closed; return None if another process has it."""
    with suppress(OSError):
        owner = socket.socket(socket.AF_UNIX)
        try:
            owner.bind(name)
            return owner
        except OSError:
            owner.close()
    return None


class Crowd:
    """Warn once if other processes slow this one down. Linux counts how long a thread has waited for a core."""

    EVERY, TOO_LONG = 10.0, 0.25  # seconds, and the share of them that the main thread waits

    def __init__(self) -> None:
        self.asked, self.waited, self.warned = time.monotonic(), self._waited(), False

    def warn(self) -> None:
        """Print a line if this thread waited for more than a quarter of the last ten seconds."""
        seconds = time.monotonic() - self.asked
        if seconds < self.EVERY or self.warned:
            return
        waited = self._waited()
        if waited - self.waited > self.TOO_LONG * seconds:
            print(
                "note: other processes use these cores, which slows this training down; with threads: 1 it would lose "
                "less, and its results would differ in the last bits",
                file=sys.stderr,
            )
            self.warned = True
        self.asked, self.waited = time.monotonic(), waited

    @staticmethod
    def _waited() -> float:
        """Return the seconds for which this thread was ready to run and had no core, 0 if nothing counts them."""
        try:
            return int(Path("/proc/thread-self/schedstat").read_text(encoding="utf-8").split()[1]) / 1e9
        except OSError:
            return 0.0
