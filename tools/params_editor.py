"""Change values in the text of params.yaml, and keep comments and order."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML


def edited(text: str, changes: Mapping[str, object]) -> str:
    """Return `text` with `changes`, named as for --set-param: {"lr": 0.1, "muon.lr_ratio": "0.1"}.

    A string is read as YAML, as --set-param reads it. Raise KeyError if a key is new.
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
    """Return a value as --set-param takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"muon.lr_ratio": 0.1}, with the names that --set-param takes, for {"muon": {"lr_ratio": 0.1}}."""
    pairs: dict[str, Any] = {}
    for name, value in params.items():
        pairs |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return pairs
