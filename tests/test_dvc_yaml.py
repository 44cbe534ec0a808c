"""dvc.yaml tells the truth: each stage declares what it imports, the parameters it uses and the files it reads."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifar10.core.params import SPEED, Params
from tests.clone import ROOT

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@cache
def nodes(file: Path) -> list[ast.AST]:
    """Every node of a file's syntax tree."""
    return list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def imported(file: Path, found: set[Path]) -> set[Path]:
    """This repository's files that `file` imports, transitively, itself and the packages' __init__ included."""
    if file in found or not file.exists():
        return found
    found.add(file)
    if file.parts[-2:] == ("pictures", "reader.py"):  # it starts the decoder as a process
        imported(file.with_name("decoder.py"), found)
    for node in nodes(file):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import, which this test does not follow"
            modules = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            parts = module.split(".")
            base = {"cifar10": ROOT / "src", "stages": ROOT}.get(parts[0])
            for end in range(1, len(parts) + 1) if base else ():
                assert base is not None
                path = base.joinpath(*parts[:end])
                imported(path.with_suffix(".py"), found)
                imported(path / "__init__.py", found)
    return found


@cache
def modules(stage: str) -> set[Path]:
    found = imported(ROOT / "stages/__init__.py", imported(ROOT / "stages/__main__.py", set()))
    return imported(ROOT / f"stages/{stage}.py", found)


@cache
def used_params(file: Path) -> set[str]:
    """Attributes read from whatever is called `params`."""
    names = {
        node.attr
        for node in nodes(file)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    return names - {"model_dump", "model_copy"}


def read_files(file: Path) -> set[str]:
    """Literal first arguments of read_...() and load_...()."""
    return {
        str(node.args[0].value)
        for node in nodes(file)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id.startswith(("read_", "load_"))
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def declared_code(stage: str) -> dict[str, set[Path]]:
    """The modules of each declared file or folder of code."""
    deps = [dep for dep in STAGES[stage]["deps"] if dep.startswith(("src/", "stages/"))]
    return {dep: {ROOT / dep} if dep.endswith(".py") else set((ROOT / dep).rglob("*.py")) for dep in deps}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_imports_and_the_files_read(stage: str) -> None:
    """Both ways: of a folder that a stage names, it imports every file."""
    code = declared_code(stage)
    assert set().union(*code.values()) == modules(stage)
    assert len(modules(stage)) > 10
    locked = {"requirements.lock"}  # another version of a library may give other bytes
    assert set(STAGES[stage]["deps"]) == set(code) | locked | read_files(ROOT / f"stages/{stage}.py")


def test_no_code_is_without_a_stage_but_the_command() -> None:
    used = set().union(*(modules(stage) for stage in STAGES))
    code = {path for folder in ("src", "stages") for path in (ROOT / folder).rglob("*.py")}
    command = {ROOT / "src/cifar10/__main__.py", *(ROOT / "src/cifar10/classify").rglob("*.py")}
    assert used == code - command
    assert command < code


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_those_used(stage: str) -> None:
    used = set().union(*(used_params(file) for file in modules(stage) if file.name != "params.py"))
    if stage == "train":
        used.add("dataset")  # recorded in the model's metadata
    assert set(STAGES[stage].get("params", [])) == used - SPEED
    assert used <= set(Params.model_fields)


def test_every_parameter_is_used_somewhere() -> None:
    declared = {name for stage in STAGES.values() for name in stage.get("params", [])}
    assert declared == set(Params.model_fields) - SPEED


def test_only_evaluate_draw_and_export_open_the_test_split() -> None:
    assert [name for name, stage in STAGES.items() if "data/test" in stage["deps"]] == ["evaluate", "draw", "export"]


def test_metrics_and_plots_stand_in_git_and_come_back_from_the_run_cache() -> None:
    for stage in STAGES.values():
        for entry in stage.get("metrics", []) + stage.get("plots", []):
            ((path, settings),) = entry.items()
            assert settings["cache"] is False, path
    # No plots and metrics there: they would be drawn twice.
    assert set(yaml.safe_load((ROOT / "dvc.yaml").read_text())) == {"stages", "artifacts"}


def test_the_artifact_is_an_output() -> None:
    (artifact,) = yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"].values()
    assert artifact["path"] in STAGES["export"]["outs"]
