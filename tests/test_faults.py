"""Disks, writers and files that go wrong, each really made to: named in one line, and nothing is lost."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cifar10.disk import replacing
from cifar10.errors import UserError
from stages.entry import run
from stages.files import write_json
from stages.lifetime import alone, noted_signals

ROOT = Path(__file__).parent.parent


@contextmanager
def smallest_file(size: int) -> Iterator[None]:
    """Writing more than `size` bytes to one file fails, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written in `folder`, for root by being someone else."""
    folder.chmod(0o555)
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with params.yaml, which every user can reach; pytest's own are for one alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        shutil.copy(ROOT / "params.yaml", name)
        yield Path(name)


def test_a_full_disk_leaves_what_was_there(folder: Path) -> None:
    target = folder / "metrics/x.json"
    write_json(str(target), "as before")
    with smallest_file(10_000), pytest.raises(UserError) as error:
        write_json(str(target), "x" * 3_000_000)
    pattern = (
        r"\S+x\.json: cannot be written: File too large; 3\.0 MB needed, [\d,.]+ MB free; what was there .* intact"
    )
    assert re.fullmatch(pattern, str(error.value))
    assert target.read_text() == '"as before"\n'
    assert [path.name for path in target.parent.iterdir()] == ["x.json"]


def test_a_write_that_is_interrupted_leaves_what_was_there(folder: Path) -> None:
    target = folder / "x"
    target.write_text("as before")
    writing = replacing(target, 4)
    writing.__enter__().write(b"half")
    assert not writing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # it goes on upwards
    assert target.read_text() == "as before"
    assert not list(folder.glob("*.tmp"))


def test_a_read_only_folder_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(str(folder / "x.json"), "as before")
    with read_only(folder), pytest.raises(UserError, match=r"x.json: cannot be written: Permission denied; .* intact"):
        write_json(str(folder / "x.json"), "new")
    assert (folder / "x.json").read_text() == '"as before"\n'
    monkeypatch.chdir(folder)
    with read_only(folder), pytest.raises(SystemExit) as stop:
        run(lambda _: None)
    assert stop.value.code == 1
    line = r"error: \.dvc/tmp/stage\.lock: cannot be written: Permission denied; [\d,.]+ MB free\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_params_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def error() -> str:
        with pytest.raises(SystemExit) as stop:
            run(lambda _: None)
        assert stop.value.code == 2
        return capsys.readouterr().err

    assert error() == ("error: params.yaml: No such file or directory; restore it with: git restore params.yaml\n")
    (tmp_path / "params.yaml").write_bytes(b"lr: \xe9")
    assert error().startswith("error: params.yaml: not valid YAML: ")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("\nlr: 0.2", "\nlr: -1"))
    assert error() == "error: params.yaml: lr: must be > 0 (got -1)\n"
    assert not (tmp_path / ".dvc").exists()  # before any work


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "src")!r}]
from pathlib import Path
from stages.lifetime import alone
with alone(Path({str(tmp_path / "lock")!r})):
    print("at work", flush=True)
    time.sleep(100)
"""
    monkeypatch.setattr("stages.lifetime.PATIENCE", 0.2)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "at work\n"
        with pytest.raises(UserError, match=rf"lock: process {first.pid} is at work here; .*: kill {first.pid}$"):
            alone(tmp_path / "lock").__enter__()
        first.kill()
    with alone(tmp_path / "lock"):  # the dead hold nothing
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_signals_are_noted_until_ctrl_c_comes_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noted_signals() as stop:
        assert stop() == 0
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
            assert stop() == signal.SIGTERM
        with pytest.raises(SystemExit) as end:
            signal.raise_signal(signal.SIGINT)
        assert end.value.code == 130
    with noted_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop() == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
