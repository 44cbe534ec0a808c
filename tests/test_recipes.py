"""Recipes are lists of what --set-param takes."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.ablation import flat
from cifar10.params import MACHINE, Params, parse_params
from tests.clone import committed

ROOT = Path(__file__).parent.parent
RECIPES = {path.stem: YAML(typ="safe", pure=True).load(path.read_text()) for path in ROOT.glob("recipes/*.yaml")}


def overrides(name: str) -> dict[str, Any]:
    return {key: YAML(typ="safe", pure=True).load(value) for key, value in (line.split("=") for line in RECIPES[name])}


def test_each_is_whole_but_for_the_seed_and_the_machine(params: Params) -> None:
    """So that it means the same whatever the workspace held before."""
    assert set(RECIPES) >= {"default", "fast", "reference"}
    expected = [key for key in flat(params.model_dump()) if key not in MACHINE | {"seed"}]
    assert {name: list(overrides(name)) for name in RECIPES} == dict.fromkeys(RECIPES, expected)


def test_the_default_is_what_the_tests_take(params: Params) -> None:
    expected = flat(params.model_dump())
    assert overrides("default") == {key: expected[key] for key in overrides("default")}


@pytest.mark.skipif("CI" not in os.environ, reason="who commits an experiment may commit other parameters")
def test_the_default_is_the_committed_params_yaml() -> None:
    expected = flat(parse_params(committed("params.yaml")).model_dump())
    assert overrides("default") == {key: expected[key] for key in overrides("default")}


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
