"""make compare: print the settings that were tried, each with its mean over the seeds and its difference to the base.

A run is an experiment of this repository, or the results of HEAD. Runs that differ in the seed alone, or in threads and
workers, are one setting. Choices are made by validation accuracy; the test split's columns are filled where `evaluate`
has scored every network of the setting. The table is also written as comparison.csv, the seeds as comparison.png.
Of a search it prints the best ten settings and what each number did, which effects.png draws.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from stages.support.formats import write_csv
from tools.compare.comparable import distinct, of_one_kind
from tools.compare.effects import Effect, columns_of, draw_effects, effects, searched
from tools.compare.plot import draw
from tools.compare.runs import find_runs
from tools.compare.settings import Setting, difference, settings, varied
from tools.compare.table import COMPARED, NUMBERS, aligned, label, table
from tools.params_editor import as_yaml
from tools.records import committed_params, workspace_params
from tools.start import argument_parser, run_tool

CSV, PLOT = Path("comparison.csv"), Path("comparison.png")
EFFECTS_CSV, EFFECTS_PLOT = Path("effects.csv"), Path("effects.png")
BEST, DRAWN = 10, 100  # rows of a search, and of a picture


def measure(found: Sequence[Setting]) -> str:
    """Return by what the settings are ordered and drawn: the first number that all of them have."""
    for number in (*COMPARED, "train_accuracy"):
        if all(setting.values(number) for setting in found):
            return number
    raise UserError("not every run has a train_accuracy; name those that do: EXPERIMENTS='...'")


def row(setting: Setting, base: Setting | None, head: dict[str, Any]) -> dict[str, Any]:
    """Return a line of comparison.csv, with accuracies as fractions."""
    changed = [f"-S {name}={as_yaml(value)}" for name, value in setting.params.items() if head.get(name) != value]
    cells: dict[str, Any] = {"setting": setting.label, "base": int(setting.is_base), "set_params": " ".join(changed)}
    cells["experiments"] = " ".join(run.name for run in setting.runs)
    cells["seeds"] = " ".join(str(run.params["seed"]) for run in setting.runs)
    for number in NUMBERS:
        values = setting.values(number)
        cells[number] = round(mean(values.values()), 6) if values else ""
        cells[f"{number}_std"] = round(stdev(values.values()), 6) if len(values) > 1 else ""
        if number in COMPARED:
            apart = difference(values, base.values(number)) if base and not setting.is_base else None
            cells[f"{number}_difference"] = round(apart.value, 6) if apart else ""
            cells[f"{number}_error"] = round(apart.error, 6) if apart and apart.error is not None else ""
            cells[f"{number}_from"] = apart.of if apart else ""
    return cells


def compare(patterns: Sequence[str], base_name: str | None) -> None:
    _, params = workspace_params()
    head = varied(committed_params("HEAD"))
    runs, notes, faults = find_runs(patterns, params.dataset)
    if faults:
        raise UserError("\n".join(faults))
    if not runs:
        notes.append("there are no runs to compare; make one: dvc exp run --name NAME -S lr=0.1")
        raise UserError("\n".join(notes))
    named = [run for run in runs if run.name == base_name]
    if base_name and not named:
        names = ", ".join(run.name for run in runs)
        raise UserError("\n".join([*notes, f"BASE={base_name} is none of the runs that are compared: {names}"]))
    runs, left_out = of_one_kind(runs, base_name)
    runs, same = distinct(runs)
    found = settings(runs, varied(named[0].params) if named else head)
    base = next((setting for setting in found if setting.is_base), None)
    by = measure(found)
    if by != COMPARED[0]:
        lacking = "a validation accuracy; choose nothing by it" if by in COMPARED else "the others"
        notes.append(f"ordered and drawn by {by.replace('_', ' ')}, as not every run has {lacking}")
    if not base:
        advice = f"name a run as the base: make compare BASE={runs[0].name}"
        notes.append(f"no run has the parameters of the committed params.yaml, so there are no differences; {advice}")
    found.sort(key=lambda setting: -mean(setting.values(by).values()))
    rows = [row(setting, base, head) for setting in found]
    write_csv(str(CSV), rows[0], (cells.values() for cells in rows))
    made = str(CSV)
    if len(runs) > 2:  # one or two dots say nothing
        dots = [(label(cells), setting.values(by)) for cells, setting in zip(rows, found, strict=True)][:DRAWN]
        picture = draw(dots, list(base.values(by).values()) if base else [], by.replace("_", " "))
        write_atomically(PLOT, picture)
        if len(found) > DRAWN:
            notes.append(f"{PLOT} shows the best {DRAWN} of {len(found)} settings")
        made += f" and {PLOT}"
    else:
        PLOT.unlink(missing_ok=True)
    group = searched(found)
    of_search = measure(group)
    made_of = effects(group, of_search)
    shown, fit = rows, list[str]()
    if made_of:  # a search: what each setting did says more than a row for each trial
        notes.append(f"the best {BEST} of {len(found)} settings; all are in {CSV}")
        for cells, setting in zip(rows, found, strict=True):
            if setting in group and not setting.is_base:
                cells["setting"] = ", ".join(f"{each.name} {as_yaml(setting.params[each.name])}" for each in made_of)
        write_csv(str(EFFECTS_CSV), Effect._fields, made_of)
        write_atomically(EFFECTS_PLOT, draw_effects(group, of_search, made_of))
        made += f", {EFFECTS_CSV} and {EFFECTS_PLOT}"
        shown = [cells for i, cells in enumerate(rows) if i < BEST or cells["base"]]
        columns = columns_of(made_of, of_search)
        fit = ["", aligned(columns), f"± standard error of a linear fit of {len(group)} settings", ""]
    else:
        EFFECTS_CSV.unlink(missing_ok=True)
        EFFECTS_PLOT.unlink(missing_ok=True)
    print(table(shown), "± standard deviation over the seeds; of a difference: its standard error", *fit, sep="\n")
    print(*notes, *left_out, *same, f"{made}: settings: {len(found)}, runs: {len(runs)}", sep="\n")


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("experiments", nargs="*", metavar="PATTERN", help="names; * stands for any letters")
    parser.add_argument("--base", metavar="NAME", help="an experiment of the setting to compare with")
    arguments = parser.parse_args()
    compare(arguments.experiments, arguments.base)


if __name__ == "__main__":
    run_tool("compare", main)
