"""Read what a run leaves: params.yaml, dvc.lock and the git refs of experiments."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml import YAMLError

from cifar10.core.errors import UserError
from cifar10.core.params import Params
from cifar10.core.params_file import parse_params
from tools.params_editor import flat
from tools.repository import committed, git

# What reading a file that is missing, broken or incomplete raises; a PNG's wrong checksum is a SyntaxError.
BROKEN = OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, SyntaxError, csv.Error, YAMLError
# Without touch, git may overlook a change that DVC has just made.
RESTORE = "touch params.yaml && git restore params.yaml dvc.lock metrics plots"


class Yaml12(yaml.CSafeLoader):
    """Read 1e-05 as a number and `off` as text, as YAML 1.2 and DVC do. ruamel.yaml is ten times slower."""


Yaml12.yaml_implicit_resolvers = {}  # not those of YAML 1.1
for tag, pattern in {
    "null": "~|null|Null|NULL|",
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][\d_]*)|0x[\da-fA-F]+",
    "float": r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": "<<",
}.items():
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"({pattern})$"), None)


class Stage(NamedTuple):
    params: dict[str, Any]  # {dotted name: value}
    deps: dict[str, str]  # {path: md5}
    outs: dict[str, str]  # {path: md5}
    sizes: dict[str, int]  # {path of an output: bytes}


class ExperimentRef(NamedTuple):
    name: str
    base: str  # the commit that it started from
    commit: str

    @property
    def path(self) -> str:
        return f"refs/exps/{self.base[:2]}/{self.base[2:]}/{self.name}"

    @property
    def name_at_base(self) -> str:
        """What `make show` and `make compare` call it if experiments from two commits share its name."""
        return f"{self.name}@{self.base[:7]}"


def load_params(data: bytes) -> dict[str, Any]:
    """Return {"muon.lr_ratio": 0.1} from a params.yaml or a recipe. Raise one of BROKEN if `data` is neither."""
    return flat(yaml.load(data, Yaml12))


def workspace_params(folder: str = ".") -> tuple[str, Params]:
    """Return params.yaml as text and as parameters. Raise UserError if it cannot be read or a value is not allowed."""
    try:
        text = Path(folder, "params.yaml").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UserError(f"params.yaml: cannot be read: {said}; git restore params.yaml") from None
    return text, parse_params(text)


def committed_params(commit: str) -> dict[str, Any]:
    """Return the parameters of a commit. Raise UserError if its params.yaml cannot be read."""
    data = committed(commit, "params.yaml")
    try:
        return load_params(data)
    except BROKEN as error:
        said = " ".join(str(error).split())
        raise UserError(f"params.yaml of the commit cannot be read: {said}; correct it and git commit") from None


def lock_stages(data: bytes) -> dict[str, Stage]:
    """Return the stages that have run, by name. Raise one of BROKEN if `data` is not that of a dvc.lock."""
    return {name: _stage(stage) for name, stage in yaml.load(data, Yaml12)["stages"].items()}


def _stage(stage: Mapping[str, Any]) -> Stage:
    def each(entries: str, key: str) -> dict[str, Any]:
        return {entry["path"]: entry[key] for entry in stage.get(entries, [])}

    params = flat(stage.get("params", {}).get("params.yaml", {}))
    return Stage(params, each("deps", "md5"), each("outs", "md5"), each("outs", "size"))


def together(lock: bytes) -> Stage:
    """Return what all stages used, read and wrote, as if they were one."""
    whole = Stage({}, {}, {}, {})
    for stage in lock_stages(lock).values():
        whole.params.update(stage.params)
        whole.deps.update(stage.deps)
        whole.outs.update(stage.outs)
        whole.sizes.update(stage.sizes)
    return whole


def differing(used: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return ["lr was 0.2, is 0.1"]: the recorded parameters that are not those of `now`."""
    return [f"{name} was {old}, is {now.get(name)}" for name, old in used.items() if now.get(name) != old]


def experiment_refs(remote: str | None = None) -> list[ExperimentRef]:
    """Return the DVC experiments of this repository, or of the one at the name or URL `remote`."""
    here = ("for-each-ref", "--format=%(objectname)\t%(refname)", "refs/exps")
    lines = git(*(("ls-remote", remote, "refs/exps/*") if remote else here)).splitlines()
    found = (re.fullmatch(r"(\w+)\trefs/exps/(\w{2})/(\w{38})/(.+)", line) for line in lines)
    return [ExperimentRef(ref[4], ref[2] + ref[3], ref[1]) for ref in found if ref]


def removal(name: str) -> str:
    """Return the command that removes an experiment. DVC knows no name_at_base, but the whole name of a ref."""
    return f"dvc exp remove {next((ref.path for ref in experiment_refs() if ref.name_at_base == name), name)}"
