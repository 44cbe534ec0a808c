"""Read the runs of this repository, its DVC experiments and the results of HEAD, and of what kind they are."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

import yaml

from cifar10.core.errors import UserError
from tools.records import BROKEN, Stage, differing, experiment_refs, load_params, lock_stages, removal
from tools.repository import blobs, git

FILES = ("params.yaml", "dvc.lock", "metrics/train.json", "metrics/run.json", "metrics/test.json")
TRAIN = ("validation_accuracy", "validation_loss", "train_accuracy")
TEST = {key: key for key in ("tta_accuracy", "calibration_error")} | {"accuracy": "test_accuracy", "loss": "test_loss"}
MODEL, START = "models/model.safetensors", "data/start.safetensors"
# What of metrics/run.json may change a result. The processor's name and the threads change speed and last bits alone.
MACHINE_TYPE = ("device", "precision", "instruction_set", "system")
PROCESSOR = ("processor", "threads")

T = TypeVar("T")


class Run(NamedTuple):
    name: str
    params: dict[str, Any]
    numbers: dict[str, float]  # of TRAIN and TEST, seconds, seconds_per_epoch; what was not measured is not there
    model: str  # md5
    kind: dict[str, dict[str, Any]]  # what must be equal in runs that are compared: {"data of train": {path: md5}}
    speed: tuple[Any, ...]


def find_runs(patterns: Sequence[str], dataset: Any) -> tuple[list[Run], list[str], list[str]]:
    """Return the runs whose names match one of the patterns, or those on `dataset` without any, and notes to print.

    The third list has a line for each experiment that cannot be read.
    """
    found, notes, faults, others = list[Run](), list[str](), list[str](), Counter[str]()
    chosen = {name: ref for name, ref in _commits().items() if not patterns or _matches(name, patterns)}
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in chosen):
            raise UserError(f"no experiment is called {pattern}; make show lists those that there are")
    contents = iter(blobs([f"{ref}:./{file}" for ref in chosen.values() for file in FILES]))
    for name, ref in chosen.items():
        files = {file: next(contents) for file in FILES}
        try:
            params = _parsed(files, "params.yaml", load_params)
            if patterns or params.get("dataset") == dataset:
                found.append(_run(name, params, files))
            else:
                others[str(params.get("dataset"))] += 1
        except BROKEN as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
            if ref == "HEAD":
                notes.append(f"{name} has no results that belong to its params.yaml, so it takes no part: {said}")
            else:
                faults.append(f"{name}: {said}; remove it: {removal(name)}, or name others: EXPERIMENTS='...'")
    notes += [f"{count} on {other} left out; name them: EXPERIMENTS='...'" for other, count in others.items()]
    return found, notes, faults


def _commits() -> dict[str, str]:
    """Return {name: commit} of the experiments, then of HEAD unless an experiment has its name.

    The name is NAME@BASE if experiments from two commits share it.
    """
    branch = git("rev-parse", "--abbrev-ref", "HEAD")
    head = git("rev-parse", "--short", "HEAD") if branch == "HEAD" else branch
    refs = experiment_refs()
    count = Counter(ref.name for ref in refs)
    commits = {ref.name_at_base if count[ref.name] > 1 else ref.name: ref.commit for ref in refs}
    commits.setdefault(head, "HEAD")
    return commits


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(each, pattern) for pattern in patterns for each in (name, name.partition("@")[0]))


def _run(name: str, params: dict[str, Any], files: Mapping[str, bytes | None]) -> Run:
    """Return the run, or raise one of BROKEN if the files are incomplete or not of one run."""
    hash(tuple(params.values()))  # which fails for a list; no parameter is one
    stages = _parsed(files, "dvc.lock", lock_stages)
    if not (train := stages.get("train")):
        raise ValueError("dvc.lock: the stage train has never run")
    if stale := differing(train.params, params):
        raise ValueError(f"not trained with its params.yaml: {', '.join(stale)}")
    run = _metrics(files, "metrics/run.json", train)
    numbers = _numbers(_metrics(files, "metrics/train.json", train), {key: key for key in TRAIN})
    numbers |= _numbers(run, {"seconds": "seconds"})
    numbers["seconds_per_epoch"] = numbers["seconds"] / params["epochs"]
    model = train.outs[MODEL]
    kind = {"data": _of(train.deps, data=True), "code of train": _of(train.deps, data=False)}
    if params.get("pretrained"):
        kind["network to start from"] = {START: train.deps[START]}
    kind["machine"] = {key: run[key] for key in MACHINE_TYPE}
    evaluate = stages.get("evaluate")
    if evaluate and evaluate.deps[MODEL] == model and not differing(evaluate.params, params):
        numbers |= _numbers(_metrics(files, "metrics/test.json", evaluate), TEST)
        kind |= {"test data": _of(evaluate.deps, data=True), "code of evaluate": _of(evaluate.deps, data=False)}
    if not isinstance(params["seed"], int):
        raise ValueError("params.yaml: seed is no whole number")
    return Run(name, params, numbers, model, kind, tuple(run[key] for key in PROCESSOR))


def _of(deps: Mapping[str, str], data: bool) -> dict[str, str]:
    found = {path: md5 for path, md5 in deps.items() if path not in (MODEL, START)}
    return {path: md5 for path, md5 in found.items() if path.startswith(("data/", "metrics/")) == data}


def _numbers(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    found = {new: values[old] for old, new in names.items() if old in values}
    for name, value in found.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{name} is no number: {value}")
    return found


def _parsed(files: Mapping[str, bytes | None], path: str, parse: Callable[[bytes], T]) -> T:
    if (data := files[path]) is None:
        raise ValueError(f"{path} is missing")
    try:
        return parse(data)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _metrics(files: Mapping[str, bytes | None], path: str, stage: Stage) -> Any:
    """Return a metrics file. Raise ValueError if it is not the one that the stage wrote."""
    data = _parsed(files, path, bytes)
    if hashlib.md5(data).hexdigest() != stage.outs[path]:
        raise ValueError(f"{path} is not the file that dvc.lock records")
    return _parsed(files, path, json.loads)
