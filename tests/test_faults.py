"""Disks, writers and files that go wrong, each really made to: named in one line, and nothing is lost."""

import errno
import io
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cifar10.core.data import Split
from cifar10.core.errors import UserError
from cifar10.core.files import replacing
from cifar10.core.lock import hold
from cifar10.drawing.png import png
from stages.support.formats import read_split, remove_readers_outputs, write_json, write_split
from stages.support.start import run_stage
from stages.support.stop import noted_signals, stop_signals
from tests.clone import PARAMS, ROOT, changed
from tests.stage_functions import refused


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
        Path(name, "params.yaml").write_text(PARAMS, encoding="utf-8")
        yield Path(name)


def test_a_full_disk_leaves_what_was_there(folder: Path) -> None:
    target = folder / "metrics/of one/x.json"
    write_json(str(target), "as before")
    with smallest_file(10_000), pytest.raises(UserError) as error:
        write_json(str(target), "x" * 3_000_000)
    pattern = r".+x\.json: cannot be written: File too large, 3\.0 MB needed, [\d,.]+ MB free, nothing half-written .+"
    assert re.fullmatch(pattern, str(error.value))
    assert target.read_text() == '"as before"\n'
    assert [path.name for path in target.parent.iterdir()] == ["x.json"]


def test_a_full_disk_is_named_for_arrays_as_well(folder: Path) -> None:
    images, labels = np.zeros((1_000, 32, 32, 3), np.uint8), np.zeros(1_000, np.uint8)
    with smallest_file(10_000), pytest.raises(UserError) as error:
        write_split(str(folder), Split(images, labels))
    assert re.search(r"images\.npy: cannot be written: \d+ requested and \d+ written, 3\.1 MB need", str(error.value))


def test_an_output_that_is_a_folder_is_deleted_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC's users add stages of their own, which may read the network."""
    monkeypatch.chdir(folder)
    (folder / "dvc.yaml").write_text("stages: {a: {deps: [model], outs: [maps]}, b: {deps: [data], outs: [other]}}")
    for name in ("maps", "other"):
        (folder / name).mkdir()
        (folder / name / "x").touch()
    remove_readers_outputs("model")
    assert sorted(path.name for path in folder.iterdir()) == ["dvc.yaml", "other", "params.yaml"]


def test_the_name_of_a_stage_that_is_none() -> None:
    for names in ([], ["compute-stats"], ["train", "evaluate"]):
        run = subprocess.run([sys.executable, "-I", "stages", *names], capture_output=True, text=True, cwd=ROOT)
        stages = "compute_stats, download, draw, evaluate, export, train"
        assert run.stderr == f"error: name one stage: {stages} (got {' '.join(names) or 'none'})\n"
        assert run.returncode == 1


def test_a_file_in_the_place_of_a_folder_is_one_line(folder: Path) -> None:
    (folder / "metrics").touch()
    with pytest.raises(UserError, match=r"^.+metrics/x\.json: cannot be written: File exists, "):
        write_json(str(folder / "metrics/x.json"), 1)


@pytest.mark.parametrize("content", ["[]", "null", "{}"])
def test_json_of_another_form_is_one_line(folder: Path, content: str) -> None:
    (folder / "sha256.json").write_text(content)
    (folder / "images.npy").touch()
    with pytest.raises(UserError, match=r"^.+: cannot be read: .+; repair it with: "):
        read_split(str(folder))
    with pytest.raises(UserError, match=r"^.+/gone: is missing; make it with: dvc repro$"):
        read_split(str(folder / "gone"))


def test_a_write_that_is_interrupted_leaves_what_was_there(folder: Path) -> None:
    target = folder / "x"
    target.write_text("as before")
    writing = replacing(target, 4)
    writing.__enter__().write(b"half")
    assert not writing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # it goes on upwards
    assert target.read_text() == "as before"
    assert not list(folder.glob("*.tmp"))


def test_a_folder_that_cannot_be_synced_is_no_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems sync files only; the file has been replaced, and nothing else may be reported."""
    fsync, refused = os.fsync, list[int]()

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refused.append(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", files_only)
    write_json(str(folder / "x.json"), "new")
    assert (folder / "x.json").read_text() == '"new"\n'
    assert refused
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(refused[0])  # closed all the same


def test_a_read_only_folder_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(str(folder / "x.json"), "as before")
    with (
        read_only(folder),
        pytest.raises(UserError, match=r"x.json: cannot be written: Permission denied, .* half-written"),
    ):
        write_json(str(folder / "x.json"), "new")
    assert (folder / "x.json").read_text() == '"as before"\n'
    monkeypatch.chdir(folder)
    with read_only(folder), pytest.raises(SystemExit) as stop:
        run_stage(lambda _: None)
    assert stop.value.code == 1
    line = (
        r"error: \.dvc/tmp/stage\.lock: cannot be written: Permission denied, [\d,.]+ MB free; .* \.dvc/tmp writable\n"
    )
    assert re.fullmatch(line, capsys.readouterr().err)


def test_params_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = "error: params.yaml: No such file or directory; restore it with: git restore params.yaml\n"
    assert refused(lambda _: None, capsys, 2) == missing
    (tmp_path / "params.yaml").write_bytes(b"lr: \xe9")
    assert refused(lambda _: None, capsys, 2).startswith("error: params.yaml: not valid YAML: ")
    (tmp_path / "params.yaml").write_text(changed(PARAMS, lr=-1))
    assert refused(lambda _: None, capsys, 2) == "error: params.yaml: lr: must be > 0 (got -1)\n"
    assert not (tmp_path / ".dvc").exists()  # before any work


def test_a_python_outside_the_environment_is_named() -> None:
    """-S: without the installed packages, as when dvc is called and the environment is not active."""
    command = [sys.executable, "-S", "-m", "stages.train"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 1
    expected = f"error: {sys.executable} has no PyTorch; type: make setup, then: . .venv/bin/activate\n"
    assert run.stderr == expected


def test_a_second_writer_is_refused_and_the_first_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "src")!r}]
from pathlib import Path
from cifar10.core.lock import hold
with hold(Path({str(tmp_path / "lock")!r}), "it"):
    print("running", flush=True)
    time.sleep(100)
"""
    monkeypatch.setattr("cifar10.core.lock.PATIENCE", 0.2)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "running\n"
        with pytest.raises(
            UserError, match=rf"^a stage is already running \(process {first.pid}\); .*: kill {first.pid}$"
        ):
            hold(tmp_path / "lock", "a stage").__enter__()
        first.kill()
    with hold(tmp_path / "lock", "a stage"):  # the dead hold nothing
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_lock_whose_folder_is_removed_meanwhile(tmp_path: Path) -> None:
    """As by a training that finishes while another process waits for it."""
    lock = tmp_path / "folder" / "lock"

    def wait() -> str:
        with hold(lock, "it"):
            return lock.read_text()

    with ThreadPoolExecutor() as pool:
        with hold(lock, "it"):
            waiting = pool.submit(wait)
            time.sleep(0.3)  # until it waits; if it is later, it makes the folder itself
            shutil.rmtree(lock.parent)
        assert waiting.result() == str(os.getpid())


def test_a_users_matplotlibrc_changes_no_picture() -> None:
    def draw() -> Figure:
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([1, 2, 1], label="a line")
        figure.suptitle("title")
        ours = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "image.interpolation": "nearest"}
        assert {key: value for key, value in matplotlib.rcParams.items() if key in ours} == ours
        return figure

    plain = png(draw)
    settings = {"axes.facecolor": "black", "font.size": 20, "savefig.dpi": 300, "axes.grid": True, "lines.linewidth": 9}
    with matplotlib.rc_context(settings):  # type: ignore[arg-type] # its keys are spelt out there
        styled = png(draw)
        assert matplotlib.rcParams["font.size"] == 20  # and the user's are as before
    assert styled == plain
    larger = io.BytesIO()
    Image.open(io.BytesIO(plain)).save(larger, "png")
    assert len(plain) < len(larger.getvalue())


def test_a_lost_terminal_asks_to_stop_except_under_nohup() -> None:
    assert signal.SIGHUP in stop_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert stop_signals() == [signal.SIGTERM, signal.SIGINT]


def test_signals_are_noted_until_ctrl_c_comes_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noted_signals() as stop:
        assert stop.number == 0
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
            assert stop.number == signal.SIGTERM
        with pytest.raises(SystemExit) as end:
            signal.raise_signal(signal.SIGINT)
        assert end.value.code == 130
    for number in (signal.SIGINT, signal.SIGHUP):
        with noted_signals() as stop:
            signal.raise_signal(number)
            assert stop.number == number
    assert signal.getsignal(signal.SIGINT) is before


def test_an_exit_that_a_library_turns_into_an_error_is_still_an_exit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As matplotlib does, whose C++ calls Python and replaces whatever that raises."""
    monkeypatch.chdir(folder)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")

    def stage(_: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            raise ValueError("Invalid affine transformation matrix") from None

    assert refused(stage, capsys, 143) == ""
