"""make ablation: what each change to a recipe is worth, from this repository's DVC experiments.

An experiment NAME-sSEED, made with `dvc exp run --name NAME-sSEED -S seed=SEED ... [train]`, is one run of the change
NAME. All of its runs become one row of recipes/ablation.csv, unless the row that is there has more seeds; rows of
experiments that are gone stay. Choices are made by validation_accuracy; the test split's columns are filled where
`evaluate` ran on that very network.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from ruamel.yaml import YAML

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from cifar10.core.params import MACHINE
from tools.params_editor import flat
from tools.repository import git
from tools.start import run_tool

CSV = Path("recipes/ablation.csv")
SAME_RESULT = MACHINE - {"augment_with"}  # albumentations may have been given another transform
TEXTS = ("change", "set_params", "commit", "seeds")
NUMBERS = ("validation_accuracy", "std", "validation_loss", "train_accuracy", "seconds_per_epoch")
TEST_NUMBERS = ("test_accuracy", "test_std", "tta_accuracy", "calibration_error")
COLUMNS = TEXTS + NUMBERS + TEST_NUMBERS


def runs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of the change, and its metrics, its parameters and those of the commit that it changes: one run of it."""
    params_yaml = YAML(typ="safe", pure=True)  # YAML 1.2: DVC writes 1e-05, which is a string to PyYAML
    for ref in git("for-each-ref", "--format=%(refname)", "refs/exps").split():
        if name := re.fullmatch(r"refs/exps/\w{2}/\w{38}/(.+)-s\d+", ref):
            run = json.loads(git("show", f"{ref}:metrics/train.json"))
            params, base = (flat(params_yaml.load(git("show", f"{commit}:params.yaml"))) for commit in (ref, f"{ref}^"))
            seconds = json.loads(git("show", f"{ref}:metrics/run.json"))["seconds"]
            if params.get("dataset") != base.get("dataset"):
                continue  # the demo's, for example
            run |= {"experiment": ref.rpartition("/")[2], "params": params, "base": base}
            run |= {"commit": git("rev-parse", "--short", f"{ref}^"), "seconds_per_epoch": seconds / params["epochs"]}
            if evaluated(yaml.safe_load(git("show", f"{ref}:dvc.lock"))["stages"]):
                test = json.loads(git("show", f"{ref}:metrics/test.json"))
                run |= test | {"test_accuracy": test["accuracy"]}
            yield name[1], run


def evaluated(stages: Mapping[str, Any]) -> bool:
    """Whether the test metrics are those of the network that this run has trained, not of one before."""
    deps = stages.get("evaluate", {"deps": []})["deps"]
    scored = [dep["md5"] for dep in deps if dep["path"] == "models/model.safetensors"]
    return scored == [out["md5"] for out in stages["train"]["outs"] if out["path"] == "models/model.safetensors"]


def table(found: Iterable[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each change, its numbers the means over its runs; `set_params` makes it from the commit's params."""
    changes = defaultdict(list)
    for name, run in found:
        changes[name].append(run)
    return [row(name, same) for name, same in changes.items()]


def check(name: str, same: Sequence[Mapping[str, Any]]) -> None:
    """UserError where runs of one change differ in more than the seed and the machine's choices, or share a seed."""
    settings = [run["params"] | {"base commit": run["commit"]} for run in same]
    faults = []
    for key in dict.fromkeys(key for each in settings for key in each if key not in SAME_RESULT):
        values = [each.get(key) for each in settings]
        if len(set(values)) != (len(values) if key == "seed" else 1):
            faults.append(f"{key} is {', '.join(map(str, values))}")
    if faults:
        experiments = ", ".join(run["experiment"] for run in same)
        raise UserError(f"{name}: cannot average {experiments}: {'; '.join(faults)}; use dvc exp rename or remove")


def row(name: str, same: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    check(name, same)
    params, base = same[0]["params"], same[0]["base"]
    differ = (key for key in params if params[key] != base.get(key) and key not in SAME_RESULT | {"seed"})
    cells = dict.fromkeys(COLUMNS, "") | {"change": name, "commit": same[0]["commit"], "seeds": len(same)}
    cells["set_params"] = " ".join(f"-S {key}={params[key]}" for key in differ)
    for key in NUMBERS + TEST_NUMBERS:
        if all(key in run for run in same):  # some have no validation split, or were not evaluated; spreads: below
            cells[key] = round(mean(run[key] for run in same), 1 if key == "seconds_per_epoch" else 4)
    for key, spread in (("validation_accuracy", "std"), ("test_accuracy", "test_std")):
        if cells[key] != "" and len(same) > 1:
            cells[spread] = round(stdev(run[key] for run in same), 4)
    return cells


def main() -> None:
    found = table(runs())
    if not found:
        raise UserError("no experiment is called NAME-sSEED; make one with: dvc exp run --name NAME-s0 -S ... train")
    try:
        rows: dict[str, dict[str, Any]] = {
            each["change"]: each for each in csv.DictReader(io.StringIO(CSV.read_text()))
        }
    except OSError as error:
        raise UserError(f"{CSV}: {error.strerror}; git restore {CSV}") from None
    for new in found:
        before = rows.get(new["change"], new)
        if int(before["seeds"]) > new["seeds"]:
            print(f"{new['change']}: kept the row of {before['seeds']} seeds, as only {new['seeds']} found here")
        elif int(before["seeds"]) == new["seeds"] and before["set_params"] != new["set_params"]:
            print(
                f"{new['change']}: kept the row with {before['set_params']}, as {new['set_params']} is another change"
            )
        else:
            rows[new["change"]] = new
    ordered = sorted(rows.values(), key=lambda each: -float(each["validation_accuracy"] or 0))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(ordered)
    write_atomically(CSV, text.getvalue().encode())
    for line in (COLUMNS, ["---"] * len(COLUMNS), *([each[name] for name in COLUMNS] for each in ordered)):
        print("| " + " | ".join(map(str, line)) + " |")


if __name__ == "__main__":
    run_tool("ablation", main)
