"""Plan the experiments of a sweep: every combination of the values, each with a name that follows from them."""

import csv
import hashlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml.error import YAMLError

from cifar10.core.errors import UserError
from cifar10.core.params import EVALUATION, SPEED
from cifar10.core.params_file import parse_params
from tools.params_editor import edited, flat
from tools.records import committed_params

Values = dict[str, str]  # {"lr": "0.1", "muon.lr_ratio": "0.05"}


class Experiment(NamedTuple):
    name: str
    changes: dict[str, Any]  # from the committed params.yaml: {"lr": 0.1, "muon.lr_ratio": 0.05}
    params: dict[str, Any]


def plan(commit: str, base: str, recipe: Mapping[str, str], settings: Sequence[Values]) -> list[Experiment]:
    """Return an experiment for each of `settings`, on top of `recipe`, on top of `base`, the text of params.yaml.

    Raise UserError, with a line for each, if params.yaml does not allow some of the values.
    """
    before = committed_params(commit)
    parse_params(base)
    experiments, trainings, faults = list[Experiment](), set[str](), list[str]()
    varied = [key for key in settings[0] if len({values[key] for values in settings}) > 1]
    last = [key.rpartition(".")[2] for key in varied]
    short = {key: end if last.count(end) == 1 else key for key, end in zip(varied, last, strict=True)}
    for values in settings:
        label = "_".join(f"{short[key]}-{values[key]}" for key in varied)[:100]
        try:
            source = f"{label}: params.yaml".removeprefix(": ")
            params = parse_params(edited(base, {**recipe, **values}), source).model_dump()
        except KeyError as error:
            raise UserError(f"'{error.args[0]}' is no parameter; params.yaml lists them") from None
        except (YAMLError, TypeError, ValueError) as error:  # an impossible date is a ValueError
            what = " ".join(f"{key}={value}" for key, value in values.items())
            raise UserError(f"{what} is not as params.yaml has it: {' '.join(str(error).split())}") from None
        except UserError as error:
            faults.append(str(error))
            continue
        changes = {key: value for key, value in flat(params).items() if value != before.get(key)}
        # What changes no byte does not count: workers, and whether the one thread was asked for or given by placed().
        bits = {key: value for key, value in changes.items() if key not in SPEED}
        bits["threads"] = 1 if params["threads"] == "auto" else params["threads"]
        of_bits = hashlib.sha256(json.dumps([commit, bits], sort_keys=True).encode()).hexdigest()[:10]
        name = re.sub(r"[^\w.+-]+|\.\.+", "-", f"{label or 'sweep'}_{of_bits}")
        experiments.append(Experiment(name, changes, params))
        trainings.add(json.dumps({key: value for key, value in bits.items() if key not in EVALUATION}, sort_keys=True))
    if faults:
        raise UserError("\n".join(faults))
    if len(trainings) < len(experiments):  # those of 0.1 and 0.10 are equal
        raise UserError(
            "the sweep asks for the same training twice; name each value once, and neither workers nor "
            f"{', '.join(EVALUATION)}, which do not change it"
        )
    return experiments


def whole_number(name: str, text: str, most: int) -> int:
    """Return the number that `text` is. Raise UserError, which calls it `name`, if it is none from 1 to `most`."""
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) or int(text) > most:
        raise UserError(f"{name} must be a whole number from 1 to {most} (got {text})")
    return int(text)


def is_range(word: str) -> bool:
    return ".." in word.partition("=")[2]


def grid(words: Iterable[str]) -> list[Values]:
    """Return every combination, four for ["lr=0.1,0.2", "seed=0,1"]."""
    named = axes(words)
    return [dict(zip(named, values, strict=True)) for values in itertools.product(*named.values())]


def axes(words: Iterable[str]) -> dict[str, list[str]]:
    """Return {"lr": ["0.1", "0.2"], "seed": ["0", "1"]} for these words."""
    found: dict[str, list[str]] = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not equals or not key or "" in values.split(","):
            raise UserError(f"{word}: write a parameter and its values like this: lr=0.05,0.1")
        if key in found:
            raise UserError(f"{key}: given twice; write its values together: {key}={','.join(found[key])},{values}")
        found[key] = values.split(",")
    return found


def rows(path: Path) -> list[Values]:
    """Return a setting for each row of a CSV file whose header names parameters."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True, skipinitialspace=True)
        found, names = list(reader), list(reader.fieldnames or [])
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(set(names)) < len(names):
        raise UserError(f"{path}, line 1: names a parameter twice: {','.join(names)}")
    for number, row in enumerate(found, start=2):
        if None in row or None in row.values() or "" in row.values():
            raise UserError(f"{path}, line {number}: needs one value for each column of the header, none empty")
    if not found:
        raise UserError(
            f"{path}: holds no experiment; the first line names parameters, each other line is one: lr,seed"
        )
    return found
