"""Change values in the text of params.yaml; comments and order stay."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML


def edited(text: str, changes: Mapping[str, object]) -> str:
    """`text` with `changes`, named as for --set-param: {"lr": 0.1, "muon.lr_ratio": "0.1"}; KeyError for a new key.

    A value that is a string is read as YAML, as --set-param reads it.
    """
    yaml, read = YAML(), YAML(typ="safe", pure=True)
    yaml.width = 1000
    params = yaml.load(text)
    for name, value in changes.items():
        *groups, key = name.split(".")
        group = params
        for each in groups:
            group = group[each]
        if key not in group:
            raise KeyError(name)
        group[key] = read.load(value) if isinstance(value, str) else value
    result = io.StringIO()
    yaml.dump(params, result)
    return result.getvalue()


def as_yaml(value: object) -> str:
    """A value as --set-param takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"muon.lr_ratio": 0.1}, the names that --set-param takes, instead of {"muon": {"lr_ratio": 0.1}}."""
    pairs: dict[str, Any] = {}
    for name, value in params.items():
        pairs |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return pairs
