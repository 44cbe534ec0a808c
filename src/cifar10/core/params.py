"""Define the schema of params.yaml: type, range and meaning of every key."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cifar10.core import SIDE
from cifar10.core.errors import ParamsError


def _auto_or_count(value: Any, least: int) -> Any:
    if value == "auto" or (type(value) is int and least <= value <= 256):
        return value
    raise ValueError(f"must be auto or a whole number from {least} to 256")


DatasetName = Literal["cifar10", "digits", "pictures"]
Execution = Literal["dense", "lattice"]
TestTimeAugmentation = Literal["none", "flip", "flip+shift"]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=10_000_000)]
Shrink = Annotated[float, Field(gt=0, lt=1)]
AutoOrPositive = Annotated[int | Literal["auto"], BeforeValidator(lambda v: _auto_or_count(v, 1))]
AutoOrCount = Annotated[int | Literal["auto"], BeforeValidator(lambda v: _auto_or_count(v, 0))]


class Strict(BaseModel):
    """Refuse coercion, unknown keys, NaN, infinity and changes after reading. The line below a key describes it."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Muon(Strict):
    """Muon for the convolutions except the depthwise ones and the head, sgd for the other parameters"""

    lr_ratio: Annotated[float, Field(gt=0, le=1000)]
    """Muon's learning rate is lr * lr_ratio; weights are set to norm sqrt(outputs) before each step"""
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
    """fraction of the run in which lr rises, at least one step"""
    div_factor: Annotated[float, Field(ge=1, le=1e9)]
    """lr starts at lr / div_factor"""
    final_div_factor: Annotated[float, Field(ge=1, le=1e9)]
    """and ends at lr / div_factor / final_div_factor"""


class Plateau(Strict):
    """torch.optim.lr_scheduler.ReduceLROnPlateau on the validation loss"""

    factor: Shrink
    """factor of each drop"""
    patience: Annotated[int, Field(ge=0, le=10_000)]
    """epochs without improvement that are allowed; the next one drops lr"""


class Augmentation(Strict):
    """random changes to each training image, drawn again in every epoch"""

    flip: Literal["random", "alternate"]
    """random (with probability flip_p) | alternate (each image in every other epoch): horizontal flips"""
    flip_p: Probability
    """probability of a random flip"""
    affine_p: Probability
    """probability of one random shift, scale and rotation, border reflected"""
    shift: Annotated[float, Field(ge=0, lt=1)]
    """largest shift, fraction of the image side, rounded to whole pixels"""
    scale: Annotated[float, Field(ge=0, lt=1)]
    """largest change of size, fraction"""
    rotate: Annotated[float, Field(ge=0, le=180)]
    """largest rotation, degrees"""
    hole_p: Probability
    """probability of one square hole, filled with the mean of the training images"""
    hole_size: Annotated[int, Field(ge=1, le=SIDE)]
    """side of the hole, pixels"""

    @property
    def random_flip_p(self) -> float:
        """Return the probability that the transforms use, which is 0 if flips alternate."""
        return self.flip_p if self.flip == "random" else 0.0


class Params(Strict):
    dataset: DatasetName
    """cifar10 (170 MB) | digits (embedded in scikit-learn, no download) | pictures (your own, in pictures/)"""
    validation_size: Annotated[int, Field(ge=0, le=10_000_000)]
    """training images held out for validation, stratified by class; 0 trains on all"""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """of all random numbers"""
    execution: Execution
    """lattice | dense: the same function in evaluation; lattice leaves out what never reaches the output"""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """probability, after every BatchNorm + ReLU"""
    pretrained: bool
    """start from the released network, trained on CIFAR-10, all layers but the head"""
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """passes over the training images"""
    batch_size: Annotated[int, Field(ge=2, le=10_000_000)]
    """images per step"""
    ema: Annotated[float, Field(ge=0, lt=1)]
    """decay of the weight average, which is saved as the model; 0 = off"""
    optimizer: Literal["sgd", "adam", "adamw", "muon"]
    """sgd | adam | adamw | muon (settings: the group muon)"""
    lr: Annotated[float, Field(gt=0, le=1000)]
    """learning rate: the peak for onecycle, the first one for step and plateau; Muon's is lr * lr_ratio"""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """of sgd, also for the parameters that Muon does not train"""
    nesterov: bool
    """of sgd, also for the parameters that Muon does not train"""
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    """L2 penalty (adamw: decoupled), not on BatchNorm, nor on the weights that Muon trains"""
    muon: Muon
    sam_rho: Annotated[float, Field(ge=0, lt=1)]
    """sharpness-aware minimization: how far it moves each convolution's weights, fraction of their norm; 0 = off"""
    schedule: Literal["step", "onecycle", "plateau"]
    """step | onecycle | plateau (settings: the group of that name)"""
    step: Step
    onecycle: OneCycle
    plateau: Plateau
    augmentation: Augmentation
    tta: TestTimeAugmentation
    """none | flip | flip+shift: views of a test image that are averaged for tta_accuracy, a metric beside accuracy"""
    device: Literal["auto", "cpu", "cuda"]
    """auto | cpu | cuda"""
    augment_with: Literal["albumentations", "fused"]
    """albumentations (image by image) | fused (the same pixels, faster)"""
    precision: Literal["auto", "bf16", "fp32", "portable"]
    """auto (bf16 where faster: AMD's AVX512-BF16, AMX, CUDA) | bf16 | fp32 | portable (the same bits on any x86-64)"""
    threads: AutoOrPositive
    """auto (one per physical core, portable: one) | n: PyTorch's CPU threads"""
    workers: AutoOrCount
    """auto | n: processes that augment ahead; changes the speed, never the result"""

    @model_validator(mode="after")
    def _combinations(self) -> "Params":
        faults = []
        if self.pretrained and self.dataset == "cifar10":
            faults.append("pretrained: must be false for cifar10, which the released network has seen (got True)")
        if self.schedule == "plateau" and self.validation_size == 0:
            faults.append("schedule: plateau watches the validation loss, so validation_size must be > 0 (got 0)")
        if self.precision == "portable" and self.device == "cuda":
            faults.append("precision: portable computes on the processor, so device must be auto or cpu (got cuda)")
        if self.optimizer in ("sgd", "muon") and self.nesterov and self.momentum == 0:
            faults.append("nesterov: true needs momentum > 0 (got 0)")
        if faults:
            raise ValueError("\n".join(faults))
        return self


def check_sizes(params: Params, counts: Mapping[str, int]) -> None:
    """Raise ParamsError if validation_size or batch_size does not fit the number of training images of each class."""
    images, classes = sum(counts.values()), len(counts)
    few, fault = min(counts, key=counts.__getitem__), ""
    if params.validation_size and images < 2 * classes:
        fault = (
            f"validation_size: must be 0, because {images} training images of {classes} classes are too few for two "
            f"parts (got {params.validation_size})"
        )
    elif params.validation_size and not classes <= params.validation_size <= images - classes:
        fault = (
            f"validation_size: must be 0, or from {classes} to {images - classes} for the {images} training images of "
            f"{params.dataset}, so that every class has images in both parts (got {params.validation_size})"
        )
    elif params.validation_size and counts[few] < 2:
        fault = (
            f"validation_size: must be 0, because the class {few} has one training image, which cannot be in both "
            f"parts (got {params.validation_size})"
        )
    elif params.batch_size > images - params.validation_size:
        fault = (
            f"batch_size: must be <= {images - params.validation_size}, the training images of {params.dataset} that "
            f"validation_size leaves (got {params.batch_size})"
        )
    if fault:
        raise ParamsError(f"params.yaml: {fault}")


# These say how a machine does the work, and are not saved in the model.
MACHINE = {"device", "precision", "threads", "workers"}
EVALUATION = {"tta"}  # used by evaluate alone
SPEED = {"workers"}  # changes no byte, so no stage depends on it
