"""Recipes are whole, and `make train` sets all of one."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifar10.core.errors import UserError
from cifar10.core.params import MACHINE, Params
from cifar10.core.params_file import parse_params
from tests.clone import PARAMS, Clone, changed, committed
from tools.params_editor import edited, flat
from tools.recipe import overrides

ROOT = Path(__file__).parent.parent
RECIPES: dict[str, dict[str, Any]] = {
    path.stem: flat(yaml.safe_load(path.read_text())) for path in ROOT.glob("recipes/*.yaml")
}
NOT_IN_RECIPES = MACHINE - {"augment_with"}


def test_each_names_every_parameter_but_the_machines(params: Params) -> None:
    """So that it means the same whatever the workspace held before."""
    assert set(RECIPES) == {"default", "fast", "reference", "digits"}
    expected = [key for key in flat(params.model_dump()) if key not in NOT_IN_RECIPES]
    assert {name: sorted(recipe) for name, recipe in RECIPES.items()} == dict.fromkeys(RECIPES, sorted(expected))


@pytest.mark.parametrize("name", RECIPES)
def test_each_is_valid(name: str) -> None:
    parse_params(edited(PARAMS, RECIPES[name]))


def test_the_default_is_what_the_tests_take(params: Params) -> None:
    expected = flat(params.model_dump())
    assert RECIPES["default"] == {key: expected[key] for key in RECIPES["default"]}


@pytest.mark.skipif("CI" not in os.environ, reason="who commits an experiment may commit other parameters")
def test_the_default_is_the_committed_params_yaml() -> None:
    expected = flat(parse_params(committed("params.yaml")).model_dump())
    assert RECIPES["default"] == {key: expected[key] for key in RECIPES["default"]}


def test_a_recipe_trains_as_it_is_whatever_the_workspace_holds(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """On top of whatever the workspace holds; a name that is taken is left to the experiment that has it."""
    monkeypatch.chdir(clone.path)
    recipe = yaml.safe_load(Path("recipes/digits.yaml").read_text()) | {"epochs": 1, "batch_size": 32, "ema": 0.5}
    Path("recipes/tiny.yaml").write_text(yaml.safe_dump(recipe))
    Path("params.yaml").write_text(changed(Path("params.yaml").read_text(), lr=0.1, nesterov=False, tta="flip+shift"))
    output = clone.run("python", "-m", "tools.recipe", "tiny", "--seed", "3")
    assert clone.ran(output) == ["train", "evaluate"]
    found = flat(parse_params(Path("params.yaml").read_text()).model_dump())
    assert {key: found[key] for key in flat(recipe)} == flat(recipe) | {"seed": 3}
    assert "[tiny-s3]" in clone.run("dvc", "exp", "list").split()
    output = clone.run("python", "-m", "tools.recipe", "tiny", "--seed", "3")
    assert output.startswith("note: there is an experiment tiny-s3 already")
    assert clone.ran(output) == []


def test_an_unknown_recipe_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"no recipe is called best; there are: default, digits, fast, reference$"):
        overrides("best", "0")
