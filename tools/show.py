"""make show: list the experiments and the committed results, with the recipe of each and what differs from it."""

import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from cifar10.core.errors import UserError
from tools.compare.runs import Run, find_runs
from tools.compare.settings import varied
from tools.compare.table import aligned
from tools.params_editor import as_yaml
from tools.recipe import recipes
from tools.start import run_tool

NUMBERS = {  # heading, factor, decimal places
    "test_accuracy": ("accuracy %", 100, 2),
    "validation_accuracy": ("validation %", 100, 2),
    "test_loss": ("loss", 1, 3),
    "seconds": ("seconds", 1, 0),
}


def described(params: dict[str, Any], known: Mapping[str, dict[str, Any]]) -> str:
    """Return the nearest of the `known` recipes and what differs from it: "digits: lr 0.01"."""
    if not known:
        raise UserError("recipes/ holds no recipe; git restore recipes")
    setting = varied(params).items()
    differ = {name: [key for key, value in setting if recipe.get(key) != value] for name, recipe in known.items()}
    nearest = min(differ, key=lambda name: len(differ[name]))
    changes = ", ".join(f"{key} {as_yaml(params[key])}" for key in differ[nearest])
    return f"{nearest}: {changes}" if changes else nearest


def row(run: Run) -> list[str]:
    values = ((run.numbers.get(number), factor, places) for number, (_, factor, places) in NUMBERS.items())
    return [run.name, *("" if value is None else f"{factor * value:.{places}f}" for value, factor, places in values)]


def show(patterns: list[str], width: int) -> str:
    """Return a table, of at most `width` characters if its numbers leave space, and notes below it."""
    runs, notes, faults = find_runs(patterns or ["*"], dataset=None)
    known, rows = recipes(), list(map(row, runs))
    headings = ["experiment", *(heading for heading, *_ in NUMBERS.values())]
    taken = [max(map(len, column)) + 3 for column in zip(headings, *rows, strict=True)]
    lines = list[list[str]]()
    for run, cells in zip(runs, rows, strict=True):
        text = textwrap.wrap(described(run.params, known), max(20, width - sum(taken) - 4))
        lines += [[*cells, text[0]], *(["" for _ in headings] + [line] for line in text[1:])]
    columns = zip([*headings, "recipe, and what differs"], map(list, zip(*lines, strict=True)), strict=True)
    return "\n".join([*([aligned(dict(columns))] if runs else []), *notes, *faults])


def main() -> None:
    print(show(sys.argv[1:], shutil.get_terminal_size((100, 0)).columns))


if __name__ == "__main__":
    run_tool("show", main)
