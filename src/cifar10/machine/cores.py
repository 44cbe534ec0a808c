"""The processor's cores: how many are for us, a thread on each, and turns on them beside other trainings."""

import os
import socket
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from joblib import cpu_count

PATIENCE = 10.0  # seconds; a training that Ctrl-Z has stopped in its turn must not stop the others
QUEUE = "\0cifar10 next"


def physical_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and its container's quota as well."""
    return int(cpu_count(only_physical_cores=True))


def own_cores() -> frozenset[int]:
    """Return the numbers of the cores that this process may run on; none where the system does not say, as on macOS."""
    return frozenset(os.sched_getaffinity(0) if sys.platform == "linux" else ())


def pin(threads: int, cores: Collection[int]) -> None:
    """Bind each of PyTorch's threads to one of `cores`, if there are as many.

    If two share a core because another process is on the second one, each waits for the other at every barrier: beside
    two busy processes a training reached 3 % of its speed alone, with bound threads a quarter.
    """
    if 1 < threads == len(cores) == cpu_count():
        import torch  # the sweep's hub, which counts cores as well, needs no PyTorch

        tasks = Path("/proc/self/task")
        before = set(tasks.iterdir())
        torch.zeros(1_000_000).add_(1)  # a first parallel operation starts the threads
        started = [int(thread.name) for thread in set(tasks.iterdir()) - before]
        if len(started) == threads - 1:
            for thread, core in zip([0, *started], cores, strict=True):  # 0: this thread
                os.sched_setaffinity(thread, {core})


class Turn:
    """Inside `with turn:`, no other training computes on the `threads` cores of this one.

    Two trainings on the same cores lose most of their time: a thread that waits at a barrier spins there and keeps its
    core from the one that it waits for. So they take turns, a step each. Linux only; elsewhere nothing waits.

    To have a core is to have its name in the system's abstract socket namespace. Nothing is written, and the system
    frees the name when this process dies.
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
            first = first or _taken(QUEUE)  # one waits for cores, the others for its place: all get their turn
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
    """Take `name`, until the socket is closed; None if another process has it."""
    with suppress(OSError):
        owner = socket.socket(socket.AF_UNIX)
        try:
            owner.bind(name)
            return owner
        except OSError:
            owner.close()
    return None


class Crowd:
    """Says once that other processes slow this one down. Linux counts how long a thread has waited for a core."""

    EVERY, TOO_LONG = 10.0, 0.25  # seconds, and the share of them that the main thread waits

    def __init__(self) -> None:
        self.asked, self.waited = time.monotonic(), self._waited()

    def warn(self) -> None:
        """Look at the last ten seconds; print a line if a quarter of them was waiting."""
        seconds = time.monotonic() - self.asked
        if seconds < self.EVERY:
            return
        waited = self._waited()
        if waited - self.waited > self.TOO_LONG * seconds:
            print(
                "note: other processes use these cores, and threads that wait for each other lose most by it; with "
                "threads: 1 this would be faster (its bits are others)",
                file=sys.stderr,
            )
            self.EVERY = float("inf")  # once
        self.asked, self.waited = time.monotonic(), waited

    @staticmethod
    def _waited() -> float:
        """Seconds for which this thread was ready to run and had no core."""
        try:
            return int(Path("/proc/thread-self/schedstat").read_text(encoding="utf-8").split()[1]) / 1e9
        except OSError:
            return 0.0
