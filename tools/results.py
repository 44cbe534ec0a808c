"""Read and check the results of the workspace, a commit or an experiment: parameters, metrics, plots, dvc.lock."""

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image

from cifar10.core.errors import UserError
from stages.support.formats import table
from tools.records import BROKEN, RESTORE, differing, experiment_refs, load_params, together
from tools.repository import committed, git

NUMBER = (int, float)
METRICS: dict[str, dict[str, Any]] = {  # what the template names; it lists whatever else the files hold
    "dataset": {"images": int, "classes": list, "counts": list, "mean": list, "std": list},
    "train": {"parameters": int, "receptive_field": int, "multiply_adds": int},
    "test": {"dataset": str}
    | dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "calibration_error"), NUMBER),
    "export": {},
    "run": {"seconds": NUMBER, "processor": str, "instruction_set": str, "threads": int, "precision": str},
}
PLOTS: dict[str, dict[str, type]] = {
    "loss": {"epoch": int, "split": str, "loss": float, "best": int},
    "accuracy": {"epoch": int, "split": str, "accuracy": float, "best": int},
    "lr": {"step": int, "optimizer": str, "lr": float},
    "per_class": {"class": str, "precision": float, "recall": float, "f1": float},
    "predictions": {"actual": str, "predicted": str, "confidence": float},
    "reliability": {"confidence": float, "accuracy": float, "images": int},
}
PICTURES = ("samples", "network", "mistakes", "examples")
T = TypeVar("T")


class Picture(NamedTuple):
    data: str  # base64
    width: int
    height: int


class Results:
    """Hold the parameters, metrics, plots and lock of a commit, or of the workspace if `commit` is None."""

    def __init__(self, name: str, commit: str | None = None) -> None:
        self.name, self.commit, self.md5 = name, commit, dict[str, str]()
        self.params = self._read("params.yaml", load_params)
        self.lock = self._read("dvc.lock", together)
        self.metrics = {name: self._read(f"metrics/{name}.json", scalars, keys) for name, keys in METRICS.items()}
        self.plots = {name: self._read(f"plots/{name}.csv", table, columns) for name, columns in PLOTS.items()}
        self.pictures = {name: self._read(f"plots/{name}.png", picture) for name in PICTURES}
        predictions = self.plots["predictions"]
        self.confusion = Counter((row["actual"], row["predicted"]) for row in predictions)
        if other := {name for pair in self.confusion for name in pair} - set(self.metrics["dataset"]["classes"]):
            said = f"plots/predictions.csv has a class {min(other)}, which metrics/dataset.json has not"
            raise UserError(f"{name}: {said}; make both: dvc repro")
        wrong = [(row, i) for i, row in enumerate(predictions) if row["actual"] != row["predicted"]]
        self.mistakes = sorted(wrong, key=lambda mistake: -mistake[0]["confidence"])

    def _read(self, path: str, parse: Callable[..., T], *expected: Mapping[str, Any]) -> T:
        """Return a file, parsed. Raise UserError with what is wrong and what to do next if that fails."""
        try:
            data = committed(self.commit, path) if self.commit else Path(path).read_bytes()
            self.md5[path] = hashlib.md5(data).hexdigest()
            return parse(data, *expected)
        except (UserError, *BROKEN) as error:
            what = "is missing" if isinstance(error, (FileNotFoundError, UserError)) else f"cannot be read: {error}"
            next_step = f"make it: dvc repro, or if committed: {RESTORE}"
            if self.commit:
                next_step = "compare with a commit that has what this version of the pipeline writes"
            raise UserError(f"{self.name}: {path} {' '.join(what.split())}; {next_step}") from None

    def metrics_flat(self) -> dict[str, Any]:
        return {f"{file}.{key}": value for file, values in self.metrics.items() for key, value in values.items()}

    def doubts(self) -> list[str]:
        """Return in which ways the results are not those of params.yaml and dvc.lock."""
        changed = differing(self.lock.params, self.params)
        other = [path for path, md5 in self.lock.outs.items() if self.md5.get(path, md5) != md5]
        return [
            *([f"params.yaml has changed since the results were made: {'; '.join(changed)}."] if changed else []),
            *([f"Not the file that dvc.lock records: {', '.join(other)}."] if other else []),
        ]


def resolve(name: str) -> Results:
    """Return the results of the experiment of that name, or else of that commit."""
    refs = experiment_refs()
    found = [ref.commit for ref in refs if name in (ref.name, ref.name_at_base)] or [name]
    if len(found) > 1:
        raise UserError(f"{len(found)} experiments are called {name}; name one with its commit, as make show does")
    try:
        commit = git("rev-parse", "--verify", "--end-of-options", f"{found[0]}^{{commit}}")
    except UserError:
        raise UserError(f"{name} is neither a commit nor an experiment; make show lists the experiments") from None
    return Results(name, commit)


def scalars(data: bytes, keys: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(data)
    json.dumps(values, allow_nan=False)  # ValueError where one is not finite
    for key, kind in keys.items():
        if not isinstance(values.get(key), kind):
            raise ValueError(f"{key} is missing or of another type")
    lengths = {len(values[key]) for key in ("classes", "counts") if key in keys}
    if len(lengths) > 1 or any(len(values[key]) != 3 for key in ("mean", "std") if key in keys):
        raise ValueError("classes and counts, or mean and std, have another length")
    return values


def picture(data: bytes) -> Picture:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.verify()
        return Picture(base64.b64encode(data).decode(), *image.size)
