"""Lock a workspace for one stage at a time, and a training for one process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cifar10.core.errors import UserError
from cifar10.core.files import free_space

PATIENCE = 10.0  # seconds; the process that holds the lock may be ending


@contextmanager
def hold(lock: Path, what: str) -> Iterator[None]:
    """Hold `lock`, which the system releases when this process dies.

    Raise UserError, which names `what` and the other process, if another process holds it.
    """
    guard = FileLock(lock, timeout=PATIENCE)
    try:
        try:
            _acquire(guard)
        except FileNotFoundError:  # the training that this one waited for has finished and removed its folder
            _acquire(guard)
        lock.write_text(str(os.getpid()), encoding="utf-8")
    except Timeout:
        holder = lock.read_text(encoding="utf-8")
        raise UserError(
            f"{what} is already running (process {holder}); wait for it or stop it: kill {holder}"
        ) from None
    except OSError as error:
        raise UserError(
            f"{lock}: cannot be written: {error.strerror}, {free_space(lock)} free; free some space, or make "
            f"{lock.parent} writable"
        ) from None
    try:
        yield
    finally:
        guard.release()


def _acquire(guard: FileLock) -> None:
    Path(guard.lock_file).parent.mkdir(parents=True, exist_ok=True)
    guard.acquire()


def is_held(lock: Path) -> bool:
    """Return whether a running process holds `lock`."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
