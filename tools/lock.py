"""What dvc.lock records of each stage."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from tools.params_editor import flat

# What reading a lock that is missing, broken or incomplete raises.
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError)


class Yaml12(yaml.CSafeLoader):
    """Reads 1e-05 as a number, as YAML 1.2 and DVC do."""


Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$"), list("-+.0123456789")
)


def load_fast(text: bytes) -> Any:
    """As tools.results.load_yaml reads what this pipeline and DVC write, but 20 times faster."""
    return yaml.load(text, Yaml12)


class Stage(NamedTuple):
    params: dict[str, Any]  # {dotted name: value}
    deps: dict[str, str]  # {path: md5}
    outs: dict[str, str]  # {path: md5}
    sizes: dict[str, int]  # {path of an output: bytes}


def stages(lock: bytes) -> dict[str, Stage]:
    """The stages that have run, by name; one of BROKEN where `lock` is not the content of a dvc.lock."""
    return {name: _stage(stage) for name, stage in load_fast(lock)["stages"].items()}


def _stage(stage: Mapping[str, Any]) -> Stage:
    def each(entries: str, key: str) -> dict[str, Any]:
        return {entry["path"]: entry[key] for entry in stage.get(entries, [])}

    params = flat(stage.get("params", {}).get("params.yaml", {}))
    return Stage(params, each("deps", "md5"), each("outs", "md5"), each("outs", "size"))


def differing(used: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """["lr was 0.2, is 0.1"]: the recorded parameters that are not those of `now`."""
    return [f"{name} was {old}, is {now.get(name)}" for name, old in used.items() if now.get(name) != old]


def together(lock: bytes) -> Stage:
    """What all stages used, read and wrote, as if they were one."""
    whole = Stage({}, {}, {}, {})
    for stage in stages(lock).values():
        whole.params.update(stage.params)
        whole.deps.update(stage.deps)
        whole.outs.update(stage.outs)
        whole.sizes.update(stage.sizes)
    return whole
