"""Recipes are lists of what --set-param takes."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.ablation import flat
from cifar10.params import Params

ROOT = Path(__file__).parent.parent
RECIPES = {path.stem: YAML(typ="safe").load(path.read_text()) for path in ROOT.glob("recipes/*.yaml")}


def overrides(name: str) -> dict[str, Any]:
    return {key: YAML(typ="safe").load(value) for key, value in (line.split("=") for line in RECIPES[name])}


def test_all_set_the_same_keys() -> None:
    """So that one can follow another, whatever the workspace held before."""
    assert set(RECIPES) >= {"default", "reference"}
    assert len({tuple(overrides(name)) for name in RECIPES}) == 1


def test_the_default_is_params_yaml(params: Params) -> None:
    committed = flat(params.model_dump())
    assert overrides("default") == {key: committed[key] for key in overrides("default")}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_valid_and_its_command_sets_all_of_it(params: Params, name: str) -> None:
    values = params.model_dump()
    for key, value in overrides(name).items():
        *groups, last = key.split(".")
        group = values
        for part in groups:
            group = group[part]
        assert last in group
        group[last] = value
    Params.model_validate(values)
    command = f"echo $(sed -n 's/^- /-S /p' recipes/{name}.yaml)"  # as the README has it
    output = subprocess.check_output(["sh", "-c", command], cwd=ROOT, text=True)
    assert output.split() == [word for line in RECIPES[name] for word in ("-S", line)]
