"""Keep the two newest states of a training on disk. Load one only if it is undamaged and of the same training."""

import hashlib
import io
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from cifar10.core.files import write_atomically

DIGEST = hashlib.sha256().digest_size


class Checkpoints:
    """Hold the states of the training with identity `key` in `folder`: 000001.pt, 000002.pt, ...

    A file holds a sha256, because torch.load would not notice a flipped bit, and then what torch.save wrote.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` and keep the one before. If the disk is full, raise UserError and leave the older ones."""
        buffer = io.BytesIO()
        torch.save({"key": self.key, "state": state}, buffer)
        content = buffer.getvalue()
        number = int(self._files()[-1].stem) + 1 if self._files() else 1
        write_atomically(self.folder / f"{number:06}.pt", hashlib.sha256(content).digest() + content)
        for old in self._files()[:-2]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """Return the newest undamaged state, or None. Report and delete damaged ones."""
        for path in reversed(self._files()):
            try:
                return self._read(path)
            except ValueError as error:
                print(f"warning: {path}: {error}; it is not used", file=sys.stderr)
                path.unlink()
        return None

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.pt"))

    def _read(self, path: Path) -> dict[str, Any]:
        whole = path.read_bytes()
        if hashlib.sha256(whole[DIGEST:]).digest() != whole[:DIGEST]:
            raise ValueError("the checkpoint is damaged")
        content = torch.load(io.BytesIO(whole[DIGEST:]), weights_only=True)
        if content["key"] != self.key:
            raise ValueError("the checkpoint is of other parameters, data or code")
        state: dict[str, Any] = content["state"]
        return state
