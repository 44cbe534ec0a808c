"""The schema of params.yaml: every key, its type and its range, checked before any work."""

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cifar10.errors import ParamsError


def _auto_or_count(value: Any, least: int) -> Any:
    if value == "auto" or (type(value) is int and least <= value <= 256):
        return value
    raise ValueError(f"must be auto or a whole number from {least} to 256")


TRAINING_IMAGES = {"cifar10": 50_000, "cifar10-jpeg": 50_000, "digits": 1437}
Execution = Literal["dense", "lattice"]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=10_000_000)]
Shrink = Annotated[float, Field(gt=0, lt=1)]
AutoOrPositive = Annotated[int | Literal["auto"], BeforeValidator(lambda v: _auto_or_count(v, 1))]
AutoOrCount = Annotated[int | Literal["auto"], BeforeValidator(lambda v: _auto_or_count(v, 0))]


class Strict(BaseModel):
    """No coercion, no unknown keys, no NaN or infinity, no changes after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Step(Strict):
    step_size: PositiveInt
    gamma: Shrink


class OneCycle(Strict):
    pct_start: Shrink
    div_factor: Annotated[float, Field(ge=1, le=1e9)]
    final_div_factor: Annotated[float, Field(ge=1, le=1e9)]


class Plateau(Strict):
    factor: Shrink
    patience: Annotated[int, Field(ge=0, le=10_000)]


class Augmentation(Strict):
    flip_p: Probability
    affine_p: Probability
    shift: Annotated[float, Field(ge=0, lt=1)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    rotate: Annotated[float, Field(ge=0, le=180)]
    hole_p: Probability
    hole_size: Annotated[int, Field(ge=1, le=32)]


class Params(Strict):
    """params.yaml. The meaning and unit of every key stand there, beside its value."""

    dataset: Literal["cifar10", "cifar10-jpeg", "digits"]
    validation_size: Annotated[int, Field(ge=0, lt=50_000)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    execution: Execution
    dropout: Annotated[float, Field(ge=0, lt=1)]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=2, le=50_000)]
    optimizer: Literal["sgd", "adam", "adamw"]
    lr: Annotated[float, Field(gt=0, le=1000)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    schedule: Literal["step", "onecycle", "plateau"]
    step: Step
    onecycle: OneCycle
    plateau: Plateau
    augmentation: Augmentation
    device: Literal["auto", "cpu", "cuda"]
    augment_on: Literal["cpu", "device"]
    precision: Literal["auto", "bf16", "fp32"]
    threads: AutoOrPositive
    workers: AutoOrCount

    @model_validator(mode="after")
    def _combinations(self) -> "Params":
        faults = []
        most = TRAINING_IMAGES[self.dataset] - 10
        if self.validation_size and not 10 <= self.validation_size <= most:
            faults.append(
                f"validation_size: must be 0, or from 10 to {most} for {self.dataset}, so that every class has images "
                f"in both parts (got {self.validation_size})"
            )
        if self.schedule == "plateau" and self.validation_size == 0:
            faults.append("schedule: plateau watches the validation loss, so validation_size must be > 0 (got 0)")
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            faults.append("nesterov: true needs momentum > 0 (got 0)")
        if faults:
            raise ValueError("\n".join(faults))
        return self


def parse_params(text: str, source: str = "params.yaml") -> Params:
    """Parse YAML 1.2, as DVC does (1e-05 is a number, a key given twice an error); ParamsError lists every fault."""
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:  # ValueError: 2024-99-99 is no date
        raise ParamsError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{source}: must hold `key: value` lines (got {type(values).__name__})")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [line for e in error.errors() for line in _describe(e).splitlines()]
        raise ParamsError("\n".join(f"{source}: {line}" for line in lines)) from None


def _describe(error: Any) -> str:
    """One of pydantic's errors as key, what is allowed, what came; a line for each wrong combination."""
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    if kind == "missing":
        return f"{key}: is missing"
    if kind == "extra_forbidden":
        group: Any = Params
        for name in error["loc"][:-1]:
            group = group.model_fields[name].annotation
        near = get_close_matches(str(error["loc"][-1]), group.model_fields, n=1)
        return f"{key}: unknown key" + (f", did you mean {near[0]}?" if near else "")
    if not error["loc"]:  # a combination: the message names its keys
        return str(error["ctx"]["error"])
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = message.replace("greater than or equal to", ">=").replace("less than or equal to", "<=")
    message = message.replace("greater than", ">").replace("less than", "<")
    return f"{key}: {message} (got {error['input']!r})"
