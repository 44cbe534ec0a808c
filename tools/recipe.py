"""make train RECIPE=reference SEED=1: run a recipe as an experiment of that name.

Every parameter is set, so that a recipe means the same whatever the workspace holds: those of default.yaml, then those
in which the recipe differs. Left as they are: the machine's, which are device, threads, workers and precision.
"""

import os
from itertools import chain, count
from pathlib import Path
from typing import Any

from cifar10.core.errors import UserError
from tools.params_editor import as_yaml
from tools.records import BROKEN, experiment_refs, load_params
from tools.repository import DVC
from tools.start import argument_parser, run_tool


def recipes() -> dict[str, dict[str, Any]]:
    """Return all parameters of each recipe by its name. Raise UserError if one cannot be read."""
    found = dict[str, dict[str, Any]]()
    for path in sorted(Path("recipes").glob("[!.]*.yaml")):  # not an editor's
        try:
            found[path.stem] = load_params(path.read_bytes())
        except BROKEN as error:
            raise UserError(
                f"{path} cannot be read: {' '.join(str(error).split())}; correct it, or: git restore {path}"
            ) from None
    if found and "default" not in found:
        raise UserError("recipes/default.yaml is missing, from which recipes differ; git restore recipes/default.yaml")
    return {name: found["default"] | own for name, own in found.items()}


def overrides(recipe: str, seed: str) -> dict[str, str]:
    """Return the recipe's values as `--set-param` takes them. Raise UserError if there is no such recipe."""
    found = recipes()
    if recipe not in found:
        raise UserError(f"no recipe is called {recipe}; there are: {', '.join(found)}")
    if not seed.isdecimal():
        raise UserError(f"SEED must be a whole number from 0 (got {seed})")
    if unknown := found[recipe].keys() - found["default"].keys():
        raise UserError(f"recipes/{recipe}.yaml: '{min(unknown)}' is no parameter; recipes/default.yaml lists them")
    return {name: as_yaml(value) for name, value in (found[recipe] | {"seed": seed}).items()}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    name, taken = f"{arguments.recipe}-s{arguments.seed}", {experiment.name for experiment in experiment_refs()}
    free = next(each for each in chain([name], (f"{name}-{i}" for i in count(2))) if each not in taken)
    if free != name:
        print(f"note: there is an experiment {name} already, so this one is called {free}", flush=True)
    values = overrides(arguments.recipe, arguments.seed).items()
    os.execv(DVC, [DVC, "exp", "run", "--name", free, *(f"--set-param={key}={value}" for key, value in values)])


if __name__ == "__main__":
    run_tool("recipe", main)
