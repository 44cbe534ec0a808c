"""The whole pipeline through DVC, on a few digits, in a temporary clone whose path holds a space."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stages.entry import run
from stages.files import read_split, read_weights
from tests.clone import Clone

pytestmark = pytest.mark.xdist_group("pipeline")  # one clone for all
STAGES = ["download", "compute_stats", "train", "evaluate"]


@pytest.fixture
def clone(reproduced: Clone) -> Clone:
    """The clone as `dvc repro` left it, whatever the test before did to it."""
    reproduced.run("git", "checkout", "-q", ".")
    reproduced.run("dvc", "checkout", "-q")
    return reproduced


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` has run once and been committed."""
    clone = Clone(tmp_path_factory.mktemp("a folder") / "with spaces", epochs=1)
    assert clone.ran(clone.run("dvc", "repro")) == STAGES
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "repro")
    return clone


def test_nothing_to_do_and_nothing_undeclared(clone: Clone) -> None:
    assert clone.ran(clone.run("dvc", "repro")) == []
    assert "up to date" in clone.run("dvc", "status")
    assert clone.run("git", "status", "--porcelain") == ""
    lock = (clone.path / "dvc.lock").read_text()
    assert all(f"  {stage}:" in lock for stage in STAGES)


def test_metrics_are_complete_and_sane(clone: Clone) -> None:
    test = json.loads((clone.path / "metrics/test.json").read_text())
    assert test["dataset"] == "digits"
    assert 0 <= test["accuracy"] <= 1
    train = json.loads((clone.path / "metrics/train.json").read_text())
    assert train["parameters"] == 189_376
    assert train["receptive_field"] == 115
    predictions = (clone.path / "plots/predictions.csv").read_text().splitlines()[1:]
    hits = [len(set(line.split(","))) == 1 for line in predictions]
    assert sum(hits) / len(hits) == pytest.approx(test["accuracy"], abs=1e-6)
    rates = (clone.path / "plots/lr.csv").read_text().splitlines()[1:]
    assert len(rates) == -(-(1437 - 50) // 128)  # one a step


def test_experiments_run_what_changed_and_come_back_unchanged(clone: Clone) -> None:
    first = clone.outputs()
    assert clone.ran(clone.run("dvc", "exp", "run", "--set-param", "lr=0.01")) == ["train", "evaluate"]
    second = clone.outputs()
    assert {name for name in first if first[name] != second[name]} >= {"models/model.safetensors", "plots/loss.csv"}
    assert re.search(r"lr +0\.2 +0\.01", clone.run("dvc", "params", "diff"))
    assert "metrics/train.json" in clone.run("dvc", "metrics", "diff")
    output = clone.run("dvc", "exp", "run", "--set-param", "lr=0.2")
    assert clone.ran(output) == []  # restored from the run cache, metrics and plots as well
    assert clone.outputs() == first


def test_temporary_experiments_run_this_code_and_go_on_where_they_were_stopped(clone: Clone) -> None:
    before = clone.outputs()
    command = ("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "epochs=4", "-S", "dropout=0.1")
    process = clone.start(*command)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch  1/4"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if "stages.train" in child.cmdline()).terminate()
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "error: train: stopped by SIGTERM after epoch " in output
    assert "exited with 143" in output
    output = clone.run(*command)
    assert clone.ran(output) == ["train", "evaluate"]
    assert re.search(r"going on after epoch [1-3], step \d+ of the next\nepoch  [2-4]/4", output)
    assert not list((clone.path / "checkpoints").iterdir())
    assert clone.outputs() == before
    assert "0.1" in clone.run("dvc", "exp", "show", "--csv")


def test_plots_are_drawn_once_each(clone: Clone) -> None:
    clone.run("dvc", "plots", "show", "--out", "page")
    page = (clone.path / "page/index.html").read_text()
    for title in ("Loss", "Accuracy", "Learning rate", "F1 per class", "Confusion"):
        assert len(re.findall(rf'"title": (?:\{{"text": )?"{title}"', page)) == 1, title
    for image in ("samples.png", "mistakes.png"):
        assert len(re.findall(rf"<img[^>]*{image}", page)) == 1, image
    shutil.rmtree(clone.path / "page")


def test_a_wrong_parameter_stops_before_any_work(clone: Clone) -> None:
    before = clone.outputs()
    output = clone.run("dvc", "exp", "run", "--set-param", "lr=-1", code=255)
    assert "error: params.yaml: lr: must be > 0 (got -1)" in output
    assert "Traceback" not in output
    assert clone.outputs().items() <= before.items()  # DVC takes a stage's outs away before it runs, no more ...
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")
    assert clone.outputs() == before  # ... and has them in its cache


def test_missing_and_damaged_inputs_are_named(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clone.path / "params.yaml", tmp_path)

    def error(read: Callable[[str], object], path: str) -> str:
        with pytest.raises(SystemExit) as stop:
            run(lambda _: (read(path), None)[1])
        assert stop.value.code == 1
        return capsys.readouterr().err

    assert error(read_split, "data/train") == "error: data/train: is missing; make it with: dvc repro\n"
    assert error(read_weights, "model").startswith("error: model: is missing")
    shutil.copytree(clone.path / "data", tmp_path / "data")
    images = tmp_path / "data/train/images.npy"
    images.write_bytes(images.read_bytes()[:100_000])
    assert error(read_split, "data/train").startswith("error: data/train: cannot be read")
    (tmp_path / "model").write_bytes(b"x" * 1000)
    assert error(read_weights, "model").startswith("error: model: cannot be read")
    weights = bytearray((clone.path / "models/model.safetensors").read_bytes())
    weights[-1000] ^= 1
    (tmp_path / "model").write_bytes(weights)
    assert error(read_weights, "model").startswith("error: model: cannot be read: the weights are damaged")
