"""Change the learning rates by the schedule that params.yaml names."""

from collections.abc import Sequence
from typing import assert_never

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from cifar10.core.params import Params


class Schedule:
    """Hold one of PyTorch's schedules for each optimizer. Call `after_step` and `after_epoch`.

    At any step all learning rates are the same fraction of their own peak or start.
    """

    def __init__(self, optimizers: Sequence[Optimizer], params: Params, steps_per_epoch: int) -> None:
        self.schedulers = [_schedule(optimizer, params, steps_per_epoch) for optimizer in optimizers]

    @property
    def lr(self) -> dict[str, float]:
        """Return the learning rate of each optimizer by its name. The first is that of params.yaml."""
        optimizers = [scheduler.optimizer for scheduler in self.schedulers]
        return {type(each).__name__: float(each.param_groups[0]["lr"]) for each in optimizers}

    def after_step(self) -> None:
        for scheduler in self.schedulers:
            if isinstance(scheduler, OneCycleLR):
                scheduler.step()

    def after_epoch(self, validation_loss: float | None) -> None:
        for scheduler in self.schedulers:
            if isinstance(scheduler, StepLR):
                scheduler.step()
            elif isinstance(scheduler, ReduceLROnPlateau):
                assert validation_loss is not None  # the schema demands a validation split
                scheduler.step(validation_loss)


def _schedule(optimizer: Optimizer, params: Params, steps_per_epoch: int) -> LRScheduler:
    match params.schedule:
        case "step":
            return StepLR(optimizer, **params.step.model_dump())
        case "plateau":
            return ReduceLROnPlateau(optimizer, **params.plateau.model_dump())
        case "onecycle":
            return _onecycle(optimizer, params, steps_per_epoch)
        case other:
            assert_never(other)


def _onecycle(optimizer: Optimizer, params: Params, steps_per_epoch: int) -> LRScheduler:
    steps = max(3, params.epochs * steps_per_epoch)
    settings = params.onecycle.model_dump()
    if settings["pct_start"] * steps <= 1:  # a run so short that PyTorch would have no step for the rise
        settings["pct_start"] = 2 / steps
    peak = float(optimizer.defaults["lr"])
    return OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False, **settings)
