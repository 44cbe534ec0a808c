"""make train RECIPE=reference SEED=1: a recipe as an experiment of that name.

A recipe holds what differs from recipes/default.yaml. Every parameter of both is set, so a recipe means the same
whatever the workspace holds. The parameters that neither names are the machine's: device, threads, workers, precision.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from cifar10.core.errors import UserError
from tools.params_editor import as_yaml, flat
from tools.repository import DVC, git
from tools.results import load_yaml
from tools.start import run_tool

FOLDER = Path("recipes")


def recipes() -> dict[str, dict[str, Any]]:
    """Return all parameters of each recipe, by name; raise UserError if a file of them cannot be read."""
    found = dict[str, dict[str, Any]]()
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            found[path.stem] = flat(load_yaml(path.read_bytes()))
        except (YAMLError, AttributeError) as error:
            raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}; git restore {path}") from None
    return {name: found.get("default", {}) | recipe for name, recipe in found.items()}


def overrides(recipe: str, seed: str) -> list[str]:
    """The recipe as `--set-param` takes it; UserError where there is no such recipe."""
    known = recipes()
    if recipe not in known:
        raise UserError(f"no recipe is called {recipe}; there are: {', '.join(known)}")
    if not seed.isdecimal():
        raise UserError(f"SEED must be a whole number from 0 (got {seed})")
    return [f"{name}={as_yaml(value)}" for name, value in (known[recipe] | {"seed": seed}).items()]


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
