"""Write files atomically, and compute their digests."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cifar10.core.errors import UserError


@contextmanager
def replacing(target: Path, size: int) -> Iterator[IO[bytes]]:
    """Yield a file to write `size` bytes to. At the end, sync it to the disk and replace `target` with it.

    If this fails, `target` stays as it was. Raise UserError, which names the space needed and free, for an OSError.
    """
    aside = target.with_name(target.name + ".tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written: {error.strerror or error}, {_megabytes(size)} needed, {free_space(target)} "
            "free, nothing half-written is left; free some space, or check the folder"
        ) from None
    finally:
        with suppress(OSError):
            aside.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    with replacing(path, len(data)) as file:
        file.write(data)


def _sync_folder(folder: Path) -> None:
    """Sync the new name to the disk. Some network file systems refuse, but the file is already in place."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def free_space(path: Path) -> str:
    """Return the free space where `path` is or would be, as text in MB."""
    folder = next(parent for parent in [path, *path.absolute().parents] if parent.is_dir())
    return _megabytes(shutil.disk_usage(folder).free)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
