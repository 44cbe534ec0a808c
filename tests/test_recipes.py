"""Recipes hold what differs from the default, and `make train` sets every parameter."""

import os
from pathlib import Path

import pytest

from cifar10.core.errors import UserError
from cifar10.core.params import MACHINE, Params
from cifar10.core.params_file import parse_params
from tests.clone import PARAMS, ROOT, committed
from tests.repository import commit, git, init
from tools.params_editor import edited, flat
from tools.recipe import main, overrides, recipes
from tools.records import load_params

OWN = {path.stem: load_params(path.read_bytes()) for path in ROOT.glob("recipes/*.yaml")}
RECIPES = {name: OWN["default"] | own for name, own in OWN.items()}


def test_each_names_every_parameter_but_the_machines(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it means the same whatever the workspace held before."""
    monkeypatch.chdir(ROOT)
    assert recipes() == RECIPES
    assert set(RECIPES) == {"default", "fast", "long", "reference", "digits", "pictures"}
    expected = [key for key in flat(params.model_dump()) if key not in MACHINE]
    assert {name: sorted(recipe) for name, recipe in RECIPES.items()} == dict.fromkeys(RECIPES, sorted(expected))


@pytest.mark.parametrize("name", RECIPES)
def test_each_is_valid(name: str) -> None:
    parse_params(edited(PARAMS, RECIPES[name]))


def test_none_repeats_the_default() -> None:
    repeated = {name: OWN[name].items() & OWN["default"].items() for name in OWN if name != "default"}
    assert not any(repeated.values()), repeated


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not text, as PyYAML reads it: `make compare` finds the recipe of a run by its values."""
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/default.yaml").write_text("lr: 0.2\nmuon: {momentum: 0.9, lr_ratio: 0.1}\n", encoding="utf-8")
    Path("recipes/slow.yaml").write_text("lr: 1e-5\nmuon: {lr_ratio: 1e-2}\n", encoding="utf-8")
    assert recipes()["slow"] == {"lr": 0.00001, "muon.momentum": 0.9, "muon.lr_ratio": 0.01}
    assert overrides("slow", "3") == {"lr": "1e-05", "muon.momentum": "0.9", "muon.lr_ratio": "0.01", "seed": "3"}
    Path("recipes/.#slow.yaml").symlink_to("user@host.123")  # Emacs' lock points to nothing
    assert list(recipes()) == ["default", "slow"]
    Path("recipes/default.yaml").unlink()
    with pytest.raises(UserError, match=r"^recipes/default\.yaml is missing, from which recipes differ; git restore"):
        recipes()


@pytest.mark.skipif("CI" not in os.environ, reason="who commits an experiment may commit other parameters")
def test_the_default_is_the_committed_params_yaml() -> None:
    expected = flat(parse_params(committed("params.yaml")).model_dump())
    assert RECIPES["default"] == {key: expected[key] for key in RECIPES["default"]}


def test_a_name_that_is_taken_gets_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = list[list[str]]()
    monkeypatch.setattr("os.execv", lambda _, command: called.append(command))
    monkeypatch.setattr("sys.argv", ["recipe", "digits", "--seed", "3"])
    init(tmp_path, monkeypatch)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    commit()
    main()
    assert capsys.readouterr().out == ""
    git("update-ref", f"refs/exps/01/{'2' * 38}/digits-s3", "HEAD")
    main()
    said = "note: there is an experiment digits-s3 already, so this one is called digits-s3-2\n"
    assert capsys.readouterr().out == said
    assert called[0][1:5] == ["exp", "run", "--name", "digits-s3"]
    assert called[1] == [*called[0][:4], "digits-s3-2", *called[0][5:]]
    values = ("seed=3", "nesterov=true", "dataset=digits", "muon.lr_ratio=0.07")
    assert {f"--set-param={value}" for value in values} <= set(called[0])


def test_an_unknown_recipe_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(
        UserError, match=r"no recipe is called best; there are: default, digits, fast, long, pictures, reference$"
    ):
        overrides("best", "0")
    with pytest.raises(UserError, match=r"^SEED must be a whole number from 0 \(got x\)$"):
        overrides("digits", "x")
