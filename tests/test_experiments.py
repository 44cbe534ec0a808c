"""Experiments, in the workspace and in temporary clones."""

import re
from pathlib import Path

import psutil

from tests.clone import Clone


def test_experiments_run_what_changed_and_come_back_unchanged(clone: Clone) -> None:
    first = clone.outputs()
    output = clone.run("dvc", "exp", "run", "--set-param", "lr=0.01")
    assert clone.ran(output) == ["train", "evaluate", "draw", "export"]
    second = clone.outputs()
    assert {name for name in first if first[name] != second[name]} >= {"models/model.safetensors", "plots/loss.csv"}
    assert re.search(r"lr +0\.2 +0\.01", clone.run("dvc", "params", "diff"))
    assert "metrics/train.json" in clone.run("dvc", "metrics", "diff")
    output = clone.run("dvc", "exp", "run", "--set-param", "lr=0.2")
    assert clone.ran(output) == []  # restored from the run cache, metrics and plots as well
    assert clone.outputs() == first


def test_what_others_leave_beside_the_code_outdates_nothing(clone: Clone) -> None:
    """Editors, file managers, network disks, `dvc plots diff` typed in a folder of the code."""
    (clone.path / "checkpoints").rmdir()
    (clone.path / "checkpoints").symlink_to("/scratch")  # as people do with a large disk
    (clone.path / ".venv").symlink_to("/scratch")
    before = clone.run("dvc", "status"), clone.run("git", "status", "--porcelain")
    names = ("#params.py#", ".params.py.swo", "._params.py", ".nfs01", "params.py.bak", "4913", "Thumbs.db", "core")
    folders = (".idea", ".mypy_cache", ".ipynb_checkpoints", "__pycache__", "dvc_plots")
    for code in ("src/cifar10/core", "src/cifar10/training", "stages/support"):
        for name in (*names, *(f"{folder}/x.py" for folder in folders)):
            (clone.path / code / name).parent.mkdir(exist_ok=True)
            (clone.path / code / name).touch()
        (clone.path / code / ".#params.py").symlink_to("user@host.123")  # Emacs' lock points to nothing
    assert clone.run("dvc", "status") == before[0] == "Data and pipelines are up to date.\n"
    ours = "from stages.support.formats import declared_files; print(*declared_files('train'))"
    assert not {Path(file).name for file in clone.run("python", "-c", ours).split()} & {"x.py", *names, ".#params.py"}
    (clone.path / "dvc_plots").mkdir()
    (clone.path / "dvc_plots/index.html").touch()
    new = clone.run("git", "status", "--porcelain").splitlines()
    assert not [line for line in new if line.endswith(("dvc_plots/", "checkpoints", ".venv"))]


def test_temporary_experiments_run_this_code_and_resume_where_they_were_stopped(clone: Clone) -> None:
    before = clone.outputs()
    command = ("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "epochs=6", "-S", "dropout=0.1")
    process = clone.start(*command)
    clone.read_until(process, "epoch  1/6")
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if child.cmdline()[-2:] == ["stages", "train"]).terminate()
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "error: train: stopped by SIGTERM after epoch " in output
    assert "exited with 143" in output
    output = clone.run(*command)
    assert clone.ran(output) == ["train", "evaluate", "draw", "export"]
    assert re.search(r"resuming after epoch \d+, step \d+ of the next\nepoch  \d/6", output)
    assert not list((clone.path / "checkpoints").iterdir())
    assert clone.outputs() == before
    assert "0.1" in clone.run("dvc", "exp", "show", "--csv")
