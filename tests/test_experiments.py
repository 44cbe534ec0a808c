"""Experiments, in the workspace and in temporary clones."""

import re

import psutil
import pytest

from cifar10.core.params_file import parse_params
from stages.support.formats import declared_files
from tests.clone import ROOT, Clone, changed
from tools.params_editor import flat
from tools.records import experiment_refs, load_params


def test_a_recipe_trains_as_it_is_whatever_the_workspace_holds_and_what_was_comes_back(clone: Clone) -> None:
    first, params = clone.outputs(), clone.path / "params.yaml"
    tiny = {"epochs": 1, "validation_size": 1000, "batch_size": 32, "ema": 0.5, "dataset": "digits", "sam_rho": 1e-5}
    tiny |= {"lr": 0.01}
    (clone.path / "recipes/tiny.yaml").write_text("".join(f"{key}: {value}\n" for key, value in tiny.items()))
    params.write_text(changed(params.read_text(), lr=0.1, nesterov=False, tta="flip+shift"))
    output = clone.run("python", "-m", "tools.recipe", "tiny", "--seed", "3")
    assert clone.ran(output) == ["train", "evaluate", "draw", "export"]
    default = load_params((ROOT / "recipes/default.yaml").read_bytes())
    found = flat(parse_params(params.read_text()).model_dump())
    assert {key: found[key] for key in default} == default | tiny | {"seed": 3}
    assert "tiny-s3" in [ref.name for ref in experiment_refs(str(clone.path))]
    second = clone.outputs()
    assert {name for name in first if first[name] != second[name]} >= {"models/model.safetensors", "plots/loss.csv"}
    assert re.search(r"lr +0\.2 +0\.01", clone.run("dvc", "params", "diff"))
    assert "metrics/train.json" in clone.run("dvc", "metrics", "diff")
    clone.run("git", "restore", "params.yaml")
    assert clone.ran(clone.run("dvc", "exp", "run")) == []  # restored from the run cache, metrics and plots as well
    assert clone.outputs() == first


def test_what_others_leave_beside_the_code_outdates_nothing(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors, file managers, network disks, `dvc plots diff` typed in a folder of the code."""
    (clone.path / "checkpoints").rmdir()
    (clone.path / "checkpoints").symlink_to("/scratch")  # as people do with a large disk
    (clone.path / ".venv").symlink_to("/scratch")
    editors = ("#params.py#", "params.py~", ".params.py.swo", "params.py.bak", "4913")
    names = (*editors, "._params.py", ".nfs01", "Thumbs.db", "core")
    folders = (".idea", ".mypy_cache", ".ipynb_checkpoints", "__pycache__", "dvc_plots")
    for code in ("src/cifar10/core", "src/cifar10/training", "stages/support"):
        for name in (*names, *(f"{folder}/x.py" for folder in folders)):
            (clone.path / code / name).parent.mkdir(exist_ok=True)
            (clone.path / code / name).touch()
        (clone.path / code / ".#params.py").symlink_to("user@host.123")  # Emacs' lock points to nothing
    assert clone.run("dvc", "status") == "Data and pipelines are up to date.\n"
    monkeypatch.chdir(clone.path)
    assert not {file.name for file in declared_files("train")} & {"x.py", *names, ".#params.py"}
    (clone.path / "dvc_plots").mkdir()
    (clone.path / "dvc_plots/index.html").touch()
    new = clone.run("git", "status", "--porcelain").splitlines()
    assert not [line for line in new if line.endswith(("dvc_plots/", "checkpoints", ".venv"))]


def test_a_training_is_resumed_whoever_has_ended_it_also_in_a_temporary_experiment(clone: Clone) -> None:
    before = clone.outputs()
    clone.set_params(epochs=9, dropout=0.1)
    process = clone.start("dvc", "repro", "-s", "train")
    clone.read_until(process, "epoch  1/9")
    assert (clone.path / "plots/loss.csv").read_text().startswith("epoch,split,loss,best\n1,train,")  # while it runs
    process.kill()
    output, _ = process.communicate()  # the stage writes to the same pipe until its end, which comes when DVC dies
    assert "error: train: stopped by SIGTERM after epoch " in output
    clone.run("git", "checkout", "-q", ".")
    clone.run("dvc", "checkout", "-q")
    assert clone.outputs() == before

    command = ("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "epochs=9", "-S", "dropout=0.1", "train")
    process = clone.start(*command)
    assert "resuming after epoch " in clone.read_until(process, "resuming after epoch ")
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if child.cmdline()[-2:] == ["stages", "train"]).terminate()
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "error: train: stopped by SIGTERM after epoch " in output
    assert "exited with 143" in output
    output = clone.run(*command)
    assert clone.ran(output) == ["train"]
    assert re.search(r"resuming after epoch \d+, step \d+ of the next\nepoch  \d/9", output)
    assert not list((clone.path / "checkpoints").iterdir())
    assert clone.outputs() == before
    (aside,) = [ref for ref in experiment_refs(str(clone.path)) if ref.name == "aside"]
    assert load_params(clone.run("git", "show", f"{aside.commit}:params.yaml").encode())["dropout"] == 0.1
