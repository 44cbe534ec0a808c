"""The schema of params.yaml, the one place where a key's type, range and meaning stand; checked before any work."""

import math
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


TRAINING_IMAGES = {"cifar10": 50_000, "digits": 1437}
Execution = Literal["dense", "lattice"]
TestTimeAugmentation = Literal["none", "flip", "flip+shift"]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=10_000_000)]
Shrink = Annotated[float, Field(gt=0, lt=1)]
AutoOrPositive = Annotated[int | Literal["auto"], BeforeValidator(lambda v: _auto_or_count(v, 1))]
AutoOrCount = Annotated[int | Literal["auto"], BeforeValidator(lambda v: _auto_or_count(v, 0))]


class Strict(BaseModel):
    """No coercion, no unknown keys, no NaN or infinity, no changes after reading. The line below a key describes it."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Muon(Strict):
    """Muon for the dense 3x3 convolutions except the first, sgd for the other parameters"""

    lr_ratio: Annotated[float, Field(gt=0, le=1000)]
    """Muon's learning rate is lr * lr_ratio; weights are kept at norm sqrt(outputs)"""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Nesterov momentum"""


class Step(Strict):
    """torch.optim.lr_scheduler.StepLR"""

    step_size: PositiveInt
    """epochs between two drops"""
    gamma: Shrink
    """factor of each drop"""


class OneCycle(Strict):
    """torch.optim.lr_scheduler.OneCycleLR, cosine, updated every step"""

    pct_start: Shrink
    """fraction of the run spent warming up"""
    div_factor: Annotated[float, Field(ge=1, le=1e9)]
    """lr starts at lr / div_factor"""
    final_div_factor: Annotated[float, Field(ge=1, le=1e9)]
    """and ends at that start / final_div_factor"""


class Plateau(Strict):
    """torch.optim.lr_scheduler.ReduceLROnPlateau on the validation loss"""

    factor: Shrink
    """factor of each drop"""
    patience: Annotated[int, Field(ge=0, le=10_000)]
    """epochs without improvement before a drop"""


class Augmentation(Strict):
    """random changes to each training image, other ones in every epoch"""

    flip_p: Probability
    """probability of a horizontal flip"""
    affine_p: Probability
    """probability of one random shift, scale and rotation, border reflected"""
    shift: Annotated[float, Field(ge=0, lt=1)]
    """largest shift, fraction of the image side, rounded to whole pixels"""
    scale: Annotated[float, Field(ge=0, lt=1)]
    """largest change of size, fraction"""
    rotate: Annotated[float, Field(ge=0, le=180)]
    """largest rotation, degrees"""
    hole_p: Probability
    """probability of one square hole, filled with the dataset mean"""
    hole_size: Annotated[int, Field(ge=1, le=32)]
    """side of the hole, pixels"""


class Params(Strict):
    dataset: Literal["cifar10", "digits"]
    """cifar10 (170 MB) | digits (embedded in scikit-learn, no download)"""
    validation_size: Annotated[int, Field(ge=0, lt=50_000)]
    """training images held out for validation, stratified by class; 0 trains on all"""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """every random draw derives from it"""
    execution: Execution
    """lattice | dense: the same function of the same weights; lattice skips dead positions"""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """probability, after every BatchNorm + ReLU"""
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """passes over the training images"""
    batch_size: Annotated[int, Field(ge=2, le=50_000)]
    """images a step"""
    ema: Annotated[float, Field(ge=0, lt=1)]
    """decay of the weight average, which is saved as the model; 0 = off"""
    optimizer: Literal["sgd", "adam", "adamw", "muon"]
    """sgd | adam | adamw | muon: the group below of that name applies"""
    lr: Annotated[float, Field(gt=0, le=1000)]
    """learning rate: the peak for onecycle, the start for step and plateau; scales Muon's as well"""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """of sgd, also for the parameters that Muon does not train"""
    nesterov: bool
    """of sgd, also for the parameters that Muon does not train"""
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    """L2 penalty (adamw: decoupled), not on BatchNorm, nor on the weights that Muon trains"""
    muon: Muon
    schedule: Literal["step", "onecycle", "plateau"]
    """step | onecycle | plateau: the group below of that name applies"""
    step: Step
    onecycle: OneCycle
    plateau: Plateau
    augmentation: Augmentation
    tta: TestTimeAugmentation
    """none | flip | flip+shift: the views of a test image whose mean gives tta_accuracy, a metric beside accuracy"""
    device: Literal["auto", "cpu", "cuda"]
    """auto | cpu | cuda"""
    augment_with: Literal["albumentations", "fused", "device"]
    """albumentations (image by image) | fused (the same pixels, faster) | device (for GPUs; the same to rounding)"""
    precision: Literal["auto", "bf16", "fp32"]
    """auto (bf16 where it is faster: AVX512-BF16, CUDA) | bf16 | fp32"""
    threads: AutoOrPositive
    """auto (one per physical core) | n: PyTorch's CPU threads"""
    workers: AutoOrCount
    """auto | n: processes that augment ahead; changes the speed, never the result"""

    @model_validator(mode="after")
    def _combinations(self) -> "Params":
        faults = []
        images = TRAINING_IMAGES[self.dataset]
        if self.validation_size and not 10 <= self.validation_size <= images - 10:
            faults.append(
                f"validation_size: must be 0, or from 10 to {images - 10} for {self.dataset}, so that every class has "
                f"images in both parts (got {self.validation_size})"
            )
        elif self.batch_size > images - self.validation_size:
            faults.append(
                f"batch_size: must be <= {images - self.validation_size}, the training images of {self.dataset} that "
                f"validation_size leaves (got {self.batch_size})"
            )
        else:
            steps = self.epochs * math.ceil((images - self.validation_size) / self.batch_size)
            if self.schedule == "onecycle" and self.onecycle.pct_start * steps <= 1:
                faults.append(
                    f"onecycle.pct_start: must be > {1 / steps:g}, so that the warm-up of a run of {steps} steps has "
                    f"more than one (got {self.onecycle.pct_start})"
                )
        if self.schedule == "plateau" and self.validation_size == 0:
            faults.append("schedule: plateau watches the validation loss, so validation_size must be > 0 (got 0)")
        if self.optimizer in ("sgd", "muon") and self.nesterov and self.momentum == 0:
            faults.append("nesterov: true needs momentum > 0 (got 0)")
        if faults:
            raise ValueError("\n".join(faults))
        return self


# How a machine does it, not what is done: not saved in the model.
MACHINE = {"device", "augment_with", "precision", "threads", "workers"}
EVALUATION = {"tta"}  # what a training does not depend on either
SPEED = {"workers"}  # what changes no byte, so that no stage depends on it


def parse_params(text: str | bytes, source: str = "params.yaml") -> Params:
    """Parse YAML 1.2, as DVC does (1e-05 is a number, a key given twice an error); ParamsError lists every fault."""
    try:
        values = YAML(typ="safe", pure=True).load(text)
    # ValueError: 2024-99-99 is no date, or the bytes are no UTF-8; RecursionError: a thousand brackets.
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
    """One of pydantic's errors as key, what is allowed, what came; a line for each wrong combination."""
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    key = key if key.isprintable() else repr(key)  # a line feed in it would make two lines of one
    if kind == "missing":
        return f"{key}: is missing"
    if kind in ("extra_forbidden", "invalid_key"):
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
    return f"{key}: {message} (got {repr(error['input'])[:100]})"
