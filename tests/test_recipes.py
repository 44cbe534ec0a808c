"""Recipes are lists of what --set-param takes; the ablation table is arithmetic on experiments."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.ablation import evaluated, flat, table
from cifar10.params import MACHINE, Params, parse_params
from tests.clone import git

ROOT = Path(__file__).parent.parent
RECIPES = {path.stem: YAML(typ="safe").load(path.read_text()) for path in ROOT.glob("recipes/*.yaml")}


def overrides(name: str) -> dict[str, Any]:
    return {key: YAML(typ="safe").load(value) for key, value in (line.split("=") for line in RECIPES[name])}


def test_each_is_whole_but_for_the_seed_and_the_machine(params: Params) -> None:
    """So that it means the same whatever the workspace held before."""
    assert set(RECIPES) >= {"default", "fast", "reference"}
    expected = [key for key in flat(params.model_dump()) if key not in MACHINE | {"seed"}]
    assert {name: list(overrides(name)) for name in RECIPES} == dict.fromkeys(RECIPES, expected)


def test_the_default_is_the_committed_params_yaml() -> None:
    committed = flat(parse_params(git("show", "HEAD:params.yaml")).model_dump())
    assert overrides("default") == {key: committed[key] for key in overrides("default")}


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_of_the_readme_sets_all_of_it(params: Params, name: str) -> None:
    values = params.model_dump()
    for key, value in overrides(name).items():
        *groups, last = key.split(".")
        group = values
        for part in groups:
            group = group[part]
        group[last] = value
    Params.model_validate(values)
    command = f"echo $(sed -n 's/^- /-S /p' recipes/{name}.yaml)"
    assert "$(sed -n 's/^- /-S /p' recipes/" in (ROOT / "README.md").read_text()
    output = subprocess.check_output(["sh", "-c", command], cwd=ROOT, text=True)
    assert output.split() == [word for line in RECIPES[name] for word in ("-S", line)]


def test_ablation_table() -> None:
    base = {"threads": 2, "lr": 0.2, "seed": 7, "muon.lr": 0.1}

    def run(accuracy: float, seconds: float, test: dict[str, float], **params: Any) -> dict[str, Any]:
        common = {"commit": "abc", "validation_loss": 0.5, "train_accuracy": 0.8, "seconds_per_epoch": seconds}
        run = {"validation_accuracy": accuracy, "params": base | {"threads": 1} | params, "base": base}
        return run | common | test

    found = [
        ("none", run(0.8, 10, {"test_accuracy": 0.7}, seed=0)),
        ("lr", run(0.9, 20, {"test_accuracy": 0.6}, lr=0.3, seed=0)),
        ("none", run(0.82, 14, {}, seed=1)),
        ("lr", run(0.9, 20, {"test_accuracy": 0.64}, lr=0.3, seed=1)),
        ("all images", run(0.9, 20, {"test_accuracy": 0.64}, validation_size=0, seed=1)),
    ]
    del found[-1][1]["validation_accuracy"]
    none, lr, everything = table(found)
    assert (lr["change"], lr["set_params"], lr["seeds"], lr["std"]) == ("lr", "-S lr=0.3", 2, 0)
    assert (none["change"], none["set_params"], none["seeds"]) == ("none", "", 2)
    assert none["validation_accuracy"] == pytest.approx(0.81)
    assert none["std"] == pytest.approx(0.0141)  # 0.01 times the root of 2
    assert none["seconds_per_epoch"] == 12
    assert none["test_accuracy"] == none["test_std"] == ""  # one of its runs was not evaluated
    assert (lr["test_accuracy"], lr["test_std"]) == pytest.approx((0.62, 0.0283), abs=1e-9)
    assert (everything["validation_accuracy"], everything["std"], everything["test_accuracy"]) == ("", "", 0.64)
    assert everything["set_params"] == "-S validation_size=0"


def test_test_metrics_count_for_the_network_that_they_are_of() -> None:
    def lock(scored: str) -> dict[str, Any]:
        other = {"path": "data", "md5": "a"}
        train = {"outs": [other, {"path": "models/model.safetensors", "md5": "b"}]}
        return {"train": train, "evaluate": {"deps": [other, {"path": "models/model.safetensors", "md5": scored}]}}

    assert evaluated(lock("b"))
    assert not evaluated(lock("a"))
