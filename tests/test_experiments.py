"""Experiments, in the workspace and in temporary clones."""

import re

import psutil

from tests.clone import Clone


def test_experiments_run_what_changed_and_come_back_unchanged(clone: Clone) -> None:
    first = clone.outputs()
    assert clone.ran(clone.run("dvc", "exp", "run", "--set-param", "lr=0.01")) == ["train", "evaluate", "export"]
    second = clone.outputs()
    assert {name for name in first if first[name] != second[name]} >= {"models/model.safetensors", "plots/loss.csv"}
    assert re.search(r"lr +0\.2 +0\.01", clone.run("dvc", "params", "diff"))
    assert "metrics/train.json" in clone.run("dvc", "metrics", "diff")
    output = clone.run("dvc", "exp", "run", "--set-param", "lr=0.2")
    assert clone.ran(output) == []  # restored from the run cache, metrics and plots as well
    assert clone.outputs() == first


def test_temporary_experiments_run_this_code_and_resume_where_they_were_stopped(clone: Clone) -> None:
    before = clone.outputs()
    command = ("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "epochs=6", "-S", "dropout=0.1")
    process = clone.start(*command)
    clone.read_until(process, "epoch  1/6")
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if "stages.train" in child.cmdline()).terminate()
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "error: train: stopped by SIGTERM after epoch " in output
    assert "exited with 143" in output
    output = clone.run(*command)
    assert clone.ran(output) == ["train", "evaluate", "export"]
    assert re.search(r"resuming after epoch \d+, step \d+ of the next\nepoch  \d/6", output)
    assert not list((clone.path / "checkpoints").iterdir())
    assert clone.outputs() == before
    assert "0.1" in clone.run("dvc", "exp", "show", "--csv")
