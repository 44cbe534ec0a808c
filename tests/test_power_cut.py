"""After a power cut at any moment, the same command ends with the same bytes, as SQLite tests it.

A disk may lose whatever was not synced: the content of a file since its last fsync, the names in a folder since the
folder's. `Disk` records what is safe at each moment of a stage; each moment is then laid out, and the stage runs again.
"""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cifar10.core.files import write_atomically
from stages.support.start import run_stage
from tests.clone import Clone
from tests.stage_functions import STAGES, in_a_fork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the path of a descriptor in /proc")
FOLDERS = ("data", "models", "metrics", "plots", "checkpoints")


class Moment(NamedTuple):
    names: dict[str, int]  # {path: inode} of every file, as it would be found
    contents: dict[int, bytes]  # {inode: bytes}


class Disk:
    """Record, below `root`, what a power cut would leave at each moment: the worst case, and with all names kept."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = self._names()
        self.contents = {inode: Path(path).read_bytes() for path, inode in self.names.items()}
        self.moments = list[Moment]()

    def _names(self) -> dict[str, int]:
        files = (path for folder in FOLDERS for path in (self.root / folder).rglob("*"))
        return {str(path): path.stat().st_ino for path in files if path.is_file()}

    def cut(self) -> None:
        """The power may fail now."""
        self.moments += [Moment(dict(names), dict(self.contents)) for names in (self.names, self._names())]

    def synced(self, descriptor: int) -> None:
        found, path = os.fstat(descriptor), str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if stat.S_ISDIR(found.st_mode):
            inside = {name: inode for name, inode in self._names().items() if os.path.dirname(name) == path}  # noqa: PTH120
            outside = {name: inode for name, inode in self.names.items() if os.path.dirname(name) != path}  # noqa: PTH120
            self.names = outside | inside
        else:
            self.contents[found.st_ino] = Path(path).read_bytes()

    @contextmanager
    def recording(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        fsync, replace, unlink, opens = os.fsync, Path.replace, Path.unlink, Path.open

        def do_fsync(descriptor: int) -> None:
            self.cut()
            fsync(descriptor)
            self.synced(descriptor)
            self.cut()

        def do_replace(path: Path, target: Path) -> Path:
            result = replace(path, target)
            self.cut()
            return result

        def do_unlink(path: Path, missing_ok: bool = False) -> None:
            unlink(path, missing_ok)
            self.cut()

        def do_open(path: Path, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
            file = opens(path, mode, *arguments, **settings)
            if "w" in mode:  # an inode that was used before
                self.contents.pop(path.stat().st_ino, None)
            return file

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", do_fsync)
            for name, function in {"replace": do_replace, "unlink": do_unlink, "open": do_open}.items():
                patch.setattr(Path, name, function)
            yield

    def lay_out(self, moment: Moment) -> None:
        """Leave in `root` what the disk has at that moment."""
        for folder in FOLDERS:
            shutil.rmtree(self.root / folder, ignore_errors=True)
        for path, inode in moment.names.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(moment.contents.get(inode, b""))


@pytest.mark.parametrize("name", ["download", "train"])
def test_a_stage_after_a_power_cut(name: str, clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.path)
    expected, log = clone.outputs(), clone.path.parent / "log"
    curves = ("metrics/train.json", "plots/lr.csv", "plots/loss.csv")
    outputs = ("data",) if name == "download" else ("models/model.safetensors", *curves)
    for out in outputs:  # as DVC does before a stage
        path = clone.path / out
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    disk = Disk(clone.path)
    with disk.recording(monkeypatch):
        run_stage(STAGES[name])
    assert len(disk.moments) > 20
    random = np.random.default_rng(0)
    chosen = random.choice(len(disk.moments) - 2, 2 if name == "train" else 1, replace=False)
    for moment in [*(disk.moments[i] for i in sorted(chosen)), disk.moments[-1]]:
        disk.lay_out(moment)
        in_a_fork(clone, name)
        found = clone.outputs()
        assert {path: md5 for path, md5 in found.items() if path.startswith(outputs)} == {
            path: md5 for path, md5 in expected.items() if path.startswith(outputs)
        }
    said = log.read_text(encoding="utf-8")
    assert "damaged" not in said
    assert "resuming after epoch" in said or name == "download"


def test_a_file_is_never_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no moment is there a name without its whole content; once the call returns, the new content is safe."""
    target = tmp_path / "models/file"
    target.parent.mkdir()
    target.write_bytes(b"old")
    disk = Disk(tmp_path)
    with disk.recording(monkeypatch):
        write_atomically(target, b"new")
    for moment in disk.moments:
        assert moment.contents.get(moment.names[str(target)]) in (b"old", b"new")
    assert disk.moments[-2].contents[disk.moments[-2].names[str(target)]] == b"new"
