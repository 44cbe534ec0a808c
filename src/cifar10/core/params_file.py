"""Read params.yaml into validated parameters, or list every error in it."""

from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cifar10.core.errors import ParamsError
from cifar10.core.params import Params


def parse_params(text: str | bytes, source: str = "params.yaml") -> Params:
    """Parse YAML 1.2, as DVC does: 1e-05 is a number, and a key given twice is an error.

    Raise ParamsError, which lists every error. Combinations of values are checked only if each value is valid.
    """
    try:
        values = YAML(typ="safe", pure=True).load(text)
    # ValueError comes from an impossible date or from bytes that are not UTF-8, RecursionError from 1,000 brackets.
    except (YAMLError, ValueError, RecursionError) as error:
        raise ParamsError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{source}: must hold `key: value` lines (got {type(values).__name__})")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [line for e in error.errors() for line in _describe(e).splitlines()]
        raise ParamsError("\n".join(f"{source}: {line}" for line in lines)) from None


def _describe(error: Any) -> str:
    """Return one pydantic error as text: key, what is allowed, what came."""
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    key = key if key.isprintable() else repr(key)  # a line break in the key would make two lines
    if kind == "missing":
        return f"{key}: is missing"
    if kind in ("extra_forbidden", "invalid_key"):
        group: Any = Params
        for name in error["loc"][:-1]:
            group = group.model_fields[name].annotation
        near = get_close_matches(str(error["loc"][-1]), group.model_fields, n=1)
        return f"{key}: unknown key" + (f", did you mean {near[0]}?" if near else "")
    if not error["loc"]:  # a combination, whose message names its keys
        return str(error["ctx"]["error"])
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = message.replace("greater than or equal to", ">=").replace("less than or equal to", "<=")
    message = message.replace("greater than", ">").replace("less than", "<")
    return f"{key}: {message} (got {repr(error['input'])[:100]})"
