"""make train RECIPE=reference SEED=1: a recipe as an experiment of that name.

Every parameter of the recipe is set, so it means the same whatever the workspace holds. Those it does not name are the
machine's: device, threads, workers, precision.
"""

import argparse
import os
from pathlib import Path

import yaml

from cifar10.core.errors import UserError
from tools.params_editor import as_yaml, flat
from tools.repository import DVC, git
from tools.start import run_tool

FOLDER = Path("recipes")


def overrides(recipe: str, seed: str) -> list[str]:
    """The recipe as `--set-param` takes it; UserError where there is no such recipe."""
    recipes = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
    if recipe not in recipes:
        raise UserError(f"no recipe is called {recipe}; there are: {', '.join(recipes)}")
    if not seed.isdecimal():
        raise UserError(f"SEED must be a whole number from 0 (got {seed})")
    values = flat(yaml.safe_load(recipes[recipe].read_text(encoding="utf-8"))) | {"seed": seed}
    return [f"{name}={as_yaml(value)}" for name, value in values.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    command = [DVC, "exp", "run"]
    name = f"{arguments.recipe}-s{arguments.seed}"
    if git("for-each-ref", f"refs/exps/*/*/{name}"):
        print(f"note: there is an experiment {name} already, so DVC chooses another name")
    else:
        command += ["--name", name]
    for override in overrides(arguments.recipe, arguments.seed):
        command += ["--set-param", override]
    os.execv(DVC, command)


if __name__ == "__main__":
    run_tool("recipe", main)
