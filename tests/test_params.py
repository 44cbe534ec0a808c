import math
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cifar10.core.data import Split, Statistics
from cifar10.core.errors import ParamsError
from cifar10.core.params import Params, check_sizes
from cifar10.core.params_file import parse_params
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from tests.clone import PARAMS, changed, git

STATISTICS = Statistics([0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\nlr: 0.2", "\nlearning_rate: 0.2", "params.yaml: lr: is missing\nparams.yaml: learning_rate: unknown key"),
        ("\nseed: 0", "\nseed: 0\nepoch: 3", "params.yaml: epoch: unknown key, did you mean epochs?"),
        (
            "  flip_p: 0.5",
            "  flipp: 0.5",
            "params.yaml: augmentation.flip_p: is missing\n"
            "params.yaml: augmentation.flipp: unknown key, did you mean flip_p?",
        ),
        ("  hole_size: 6", "  hole_size: 33", "params.yaml: augmentation.hole_size: must be <= 32 (got 33)"),
        ("\nlr: 0.2", "\nlr: 0.2\nlr: 0.3", "params.yaml: not valid YAML: while constructing a mapping"),
        ("\nseed: 0", "\nseed: 2024-99-99", "params.yaml: not valid YAML: month must be in 1..12"),
        ("\nlr: 0.2", "\nlr: [0.2", "params.yaml: not valid YAML: while parsing a flow sequence"),
        ("\nlr: 0.2", "\nlr: " + "[" * 3000, "params.yaml: not valid YAML: maximum recursion depth exceeded"),
        ("\nlr: 0.2", "\nlr: " + "x" * 3000, "params.yaml: lr: must be a valid number (got 'xxxxxxxxxxxxxxxxxxxxx"),
        ("\nseed: 0", '\nseed: 0\n1: 2\n"a\\nb": 3', "params.yaml: 1: unknown key\nparams.yaml: 'a\\nb': unknown key"),
    ],
)
def test_faults_in_the_file(old: str, new: str, message: str) -> None:
    assert old in PARAMS
    with pytest.raises(ParamsError) as error:
        parse_params(PARAMS.replace(old, new))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("text", ["", "[]", "lr", "3"])
def test_no_mapping(text: str) -> None:
    with pytest.raises(ParamsError, match="must hold `key: value` lines"):
        parse_params(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-05", 1e-5), ("1e-3", 1e-3), ("1E-3", 1e-3), ("1", 1.0), ("3e-1", 0.3)]
)
def test_numbers_as_dvc_writes_and_people_type_them(text: str, value: float) -> None:
    assert math.isclose(parse_params(PARAMS.replace("\nlr: 0.2\n", f"\nlr: {text}\n")).lr, value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": ".nan"}, "lr: must be a finite number (got nan)"),
        ({"epochs": "3.0"}, "epochs: must be a valid integer (got 3.0)"),
        ({"dataset": "mnist"}, "dataset: must be 'cifar10', 'digits' or 'pictures' (got 'mnist')"),
        (
            {"schedule": "plateau", "validation_size": 0},
            "schedule: plateau watches the validation loss, so validation_size must be > 0 (got 0)",
        ),
        (
            {"pretrained": True, "dataset": "cifar10"},
            "pretrained: must be false for cifar10, which the released network has seen (got True)",
        ),
        ({"momentum": 0.0}, "nesterov: true needs momentum > 0 (got 0)"),
        (
            {"precision": "portable", "device": "cuda"},
            "precision: portable computes on the processor, so device must be auto or cpu (got cuda)",
        ),
    ],
)
def test_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError) as error:
        parse_params(changed(PARAMS, **changes))
    assert str(error.value) == f"params.yaml: {message}"


@pytest.mark.parametrize(
    ("validation_size", "batch_size", "message"),
    [
        (1, 2, "validation_size: must be 0, or from 2 to 5 for the 7 training images of pictures, so that every class"),
        (6, 2, "validation_size: must be 0, or from 2 to 5 for the 7 training images of pictures, so that every class"),
        (2, 6, "batch_size: must be <= 5, the training images of pictures that validation_size leaves (got 6)"),
        (0, 8, "batch_size: must be <= 7, the training images of pictures that validation_size leaves (got 8)"),
        (2, 5, ""),
        (5, 2, ""),
        (0, 7, ""),
    ],
)
def test_sizes_that_do_not_fit_the_data(params: Params, validation_size: int, batch_size: int, message: str) -> None:
    changed = {"dataset": "pictures", "validation_size": validation_size, "batch_size": batch_size}
    params = params.model_copy(update=changed)
    if not message:
        return check_sizes(params, {"cat": 5, "dog": 2})
    with pytest.raises(ParamsError) as error:
        check_sizes(params, {"cat": 5, "dog": 2})
    assert str(error.value).startswith(f"params.yaml: {message}")
    return None


def test_a_class_of_one_image_has_no_validation_split(params: Params) -> None:
    small = params.model_copy(update={"validation_size": 2, "batch_size": 2})
    check_sizes(small.model_copy(update={"validation_size": 0}), {"cat": 5, "dog": 1})
    with pytest.raises(ParamsError, match="the class dog has one training image, which cannot be in both parts"):
        check_sizes(small, {"cat": 5, "dog": 1})


def leaves(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Path and schema of every key, the groups' own before those inside."""
    for name, field in model.model_fields.items():
        yield (*prefix, name), field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*prefix, name))


SCHEMA = dict(leaves(Params))


def test_comments_of_the_committed_file_are_the_descriptions_of_the_schema() -> None:
    comments, group = {}, ""
    for line in git("show", "HEAD:params.yaml").splitlines():
        if found := re.fullmatch(r"( *)(\w+):[^#]*# (.*)", line):
            indent, key, comment = found.groups()
            comments[(group, key) if indent else (key,)] = comment
            group = group if indent else key
    described = {path: field.description or (field.annotation or Params).__doc__ for path, field in SCHEMA.items()}
    assert comments == described


def with_value(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    values = deepcopy(VALUES)
    group = values
    for name in path[:-1]:
        group = group[name]
    if value is MISSING:
        del group[path[-1]]
    elif value is MISSPELT:
        group[path[-1] + "x"] = group.pop(path[-1])
    else:
        group[path[-1]] = value
    return values


VALUES: dict[str, Any] = yaml.safe_load(PARAMS)


def refusal(values: dict[str, Any], key: str) -> list[str]:
    """What parse_params says of the value of one key at the top. The others are left out, as reading all takes long."""
    others = {f"params.yaml: {name}: is missing" for name in VALUES if name != key}
    with pytest.raises(ParamsError) as error:
        parse_params(dumped({name: value for name, value in values.items() if name == key or name not in VALUES}))
    lines = str(error.value).splitlines()
    assert others <= set(lines)
    return [line for line in lines if line not in others]


MISSING, MISSPELT = object(), object()
WRONG_FOR_ALL = [MISSING, MISSPELT, None, [], [1], {"a": 1}, "", "12 monkeys", -1, 1e30, math.nan, math.inf, -math.inf]


BOUNDS = {
    "> 0, < 1": "step.gamma onecycle.pct_start plateau.factor",
    "> 0, <= 1000": "lr muon.lr_ratio",
    ">= 0, < 1": "dropout ema momentum muon.momentum sam_rho augmentation.shift augmentation.scale",
    ">= 0, <= 1": "augmentation.flip_p augmentation.affine_p augmentation.hole_p",
    ">= 0, <= 180": "augmentation.rotate",
    ">= 0, <= 1000": "weight_decay",
    ">= 0, <= 10000": "plateau.patience",
    ">= 0, <= 10000000": "validation_size",
    ">= 0, < 4294967296": "seed",
    ">= 1, <= 32": "augmentation.hole_size",
    ">= 1, <= 10000": "epochs",
    ">= 1, <= 10000000": "step.step_size",
    ">= 1, <= 1000000000": "onecycle.div_factor onecycle.final_div_factor",
    ">= 2, <= 10000000": "batch_size",
    "auto or a whole number from 0 to 256": "workers",
    "auto or a whole number from 1 to 256": "threads",
}


def dumped(values: dict[str, Any]) -> str:
    return str(yaml.dump(values, Dumper=yaml.CSafeDumper, sort_keys=False))


def test_carriage_returns_are_as_good_as_none() -> None:
    assert parse_params(PARAMS.replace("\n", "\r\n")) == parse_params(PARAMS)


def test_the_bounds_of_every_number() -> None:
    keys = {key: bounds for bounds, names in BOUNDS.items() for key in names.split()}
    literals = "dataset execution optimizer nesterov pretrained schedule augmentation.flip augment_with"
    groups = "muon step onecycle plateau augmentation tta device precision"
    assert keys.keys() | {*literals.split(), *groups.split()} == {".".join(path) for path in SCHEMA}
    for key, bounds in keys.items():
        for value, bound in zip((-1, 10**11), bounds.split(", ") * 2, strict=False):
            path = tuple(key.split("."))
            said = [f"params.yaml: {key}: must be {bound} (got {value})"]
            assert refusal(with_value(path, value), path[0]) == said


@pytest.mark.parametrize("path", SCHEMA, ids=".".join)
def test_every_key_refuses_what_it_is_not(path: tuple[str, ...]) -> None:
    wrong = [
        *WRONG_FOR_ALL,
        *([] if path in (("nesterov",), ("pretrained",)) else [True]),
        *([] if "seed" in path else [2**70]),
    ]
    for value in wrong:
        lines = refusal(with_value(path, value), path[0])
        name = ".".join(path)
        # A group that holds something else misses its keys.
        assert lines[0].startswith((f"params.yaml: {name}: ", f"params.yaml: {name}." if value == {"a": 1} else name))
        if value is MISSPELT:
            group, _, key = name.rpartition(".")
            assert lines[1] == f"params.yaml: {group + '.' if group else ''}{key}x: unknown key, did you mean {key}?"
        else:
            assert len(lines) == 1 or isinstance(value, dict)
    # One that is no UTF-8 is as bad as any.
    with pytest.raises(ParamsError, match="not valid YAML"):
        parse_params(PARAMS.encode().replace(f"{path[-1]}:".encode(), f"{path[-1]}: \xe9".encode("latin1"), 1))
    line = next(line for line in PARAMS.splitlines() if line.strip().startswith(f"{path[-1]}:"))
    with pytest.raises(ParamsError, match="not valid YAML"):
        parse_params(PARAMS.replace(line, f"{line}\n{line}" if ": #" not in line else f"{line}\n  a: [1", 1))


def allowed(path: tuple[str, ...]) -> list[Any]:
    """Every name that a key may have; of a number the smallest, the largest and one between."""
    annotation = SCHEMA[path].annotation
    if names := getattr(annotation, "__args__", None):
        return list(names)
    if annotation is bool:
        return [True, False]
    bounds = next(bounds for bounds, keys in BOUNDS.items() if ".".join(path) in keys.split())
    above, low, below, high = bounds.replace(",", "").split()
    step = 1 if annotation is int else 1e-6
    smallest, largest = float(low) + step * (above == ">"), float(high) - step * (below == "<")
    return [type(step)(value) for value in (smallest, 0.7 * smallest + 0.3 * min(largest, 100), largest)]


def test_what_is_accepted_trains_a_step() -> None:
    """Mixtures of allowed values; those that do not fit together are refused before."""
    from cifar10.training.loop import Training  # takes seconds, which tests/test_workspace.py need not wait for

    random, trained, refused = np.random.default_rng(0), 0, list[str]()
    groups = {path[:1] for path in SCHEMA if len(path) > 1}
    paths = [path for path in SCHEMA if path not in groups | {("device",), ("threads",), ("workers",), ("batch_size",)}]
    for _ in range(40):
        values = yaml.safe_load(PARAMS) | {"batch_size": 8}
        for i in random.choice(len(paths), 8, replace=False):
            group = values[paths[i][0]] if len(paths[i]) > 1 else values
            choices = allowed(paths[i])
            group[paths[i][-1]] = choices[random.integers(len(choices))]
        try:
            params = parse_params(yaml.safe_dump(values))
        except ParamsError as refusal:
            refused.append(str(refusal))
            continue
        count = 1000
        split = Split(np.broadcast_to(np.uint8(7), (count, 32, 32, 3)), np.broadcast_to(np.uint8(3), count))
        runtime = Runtime(torch.device("cpu"), "fp32", 1)
        training = Training(
            Net(params.execution, params.dropout, classes=10), split, split, STATISTICS, params, runtime
        )
        training._train_step(*next(iter(training.loader)))
        assert training.step == 1
        trained += 1
    assert trained > 20
    assert all(re.match(r"params\.yaml: (pretrained|schedule|nesterov)", r) for r in refused)
