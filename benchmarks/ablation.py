"""make ablation: what each change to the committed recipe is worth, from this repository's DVC experiments.

An experiment NAME-sSEED, made with `dvc exp run --name NAME-sSEED -S seed=SEED ... train`, is one run of the change
NAME. Writes recipes/ablation.csv, prints it as a table. The test split plays no part.
"""

import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ruamel.yaml import YAML

from cifar10.params import MACHINE
from stages.verify import git

CSV = Path("recipes/ablation.csv")


def runs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of the change, and the metrics and parameters of one run of it."""
    yaml = YAML(typ="safe")
    for ref in git("for-each-ref", "--format=%(refname)", "refs/exps").split():
        if name := re.fullmatch(r"refs/exps/\w{2}/\w{38}/(.+)-s\d+", ref):
            metrics = json.loads(git("show", f"{ref}:metrics/train.json"))
            seconds = json.loads(git("show", f"{ref}:metrics/run.json"))["seconds"]
            params = flat(yaml.load(git("show", f"{ref}:params.yaml")))
            commit = git("rev-parse", "--short", f"{ref}^")
            seconds_per_epoch = seconds / params["epochs"]
            yield name[1], metrics | {"params": params, "commit": commit, "seconds_per_epoch": seconds_per_epoch}


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"muon.lr": 0.01}, the names that --set-param takes, instead of {"muon": {"lr": 0.01}}."""
    pairs: dict[str, Any] = {}
    for name, value in params.items():
        pairs |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return pairs


def table(found: Sequence[tuple[str, Mapping[str, Any]]], committed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each change, best validation accuracy first; `set_params` is its difference from `committed`."""
    changes = defaultdict(list)
    for name, run in found:
        changes[name].append(run)
    rows = []
    for name, same in changes.items():
        params = same[0]["params"]
        # What params.yaml no longer knows was off where it was 0.
        differ = (key for key in params if params[key] != committed.get(key, 0) and key not in MACHINE | {"seed"})
        accuracies = [run["validation_accuracy"] for run in same if "validation_accuracy" in run]
        if not accuracies:  # trained on all images
            continue
        rows.append(
            {
                "change": name,
                "set_params": " ".join(f"-S {key}={params[key]}" for key in differ),
                "commit": same[0]["commit"],
                "seeds": len(same),
                "validation_accuracy": round(mean(accuracies), 4),
                "std": round(stdev(accuracies), 4) if len(accuracies) > 1 else "",
                "validation_loss": round(mean(run["validation_loss"] for run in same), 4),
                "train_accuracy": round(mean(run["train_accuracy"] for run in same), 4),
                "seconds_per_epoch": round(mean(run["seconds_per_epoch"] for run in same), 1),
            }
        )
    return sorted(rows, key=lambda row: -row["validation_accuracy"])


def main() -> None:
    rows = table(list(runs()), flat(YAML(typ="safe").load(Path("params.yaml").read_text())))
    if not rows:
        sys.exit("error: no experiment is called NAME-sSEED; make one with: dvc exp run --name NAME-s0 -S ... train")
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for cells in (rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)):
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
