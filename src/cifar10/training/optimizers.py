"""Build the optimizers and learning-rate schedules that params.yaml names."""

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from cifar10.core.params import Params
from cifar10.network.model import Net
from cifar10.training.muon import Muon


def build_optimizers(model: Net, params: Params) -> list[Optimizer]:
    """Return the optimizers that `params` name.

    BatchNorm's scale and shift have no weight decay, because shrinking them regularises nothing.
    """
    by_muon: list[Tensor] = []
    if params.optimizer == "muon":
        # Muon leaves out depthwise convolutions, whose weights are no matrices, and the head, which has no BatchNorm.
        convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d) and m is not model.head)
        by_muon = [m.weight for m in convolutions if m.groups == 1]
    rest = [p for p in model.parameters() if all(p is not weight for weight in by_muon)]
    device = next(model.parameters()).device
    on_gpu = device.type == "cuda"

    def rate(lr: float) -> float | Tensor:
        """Return a tensor on a GPU, as a CUDA graph reads it in each step. A number would stay as it was captured."""
        return torch.tensor(lr, device=device) if on_gpu else lr

    # Each group has a rate of its own, because ReduceLROnPlateau would write its factor twice into a shared tensor.
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": params.weight_decay, "lr": rate(params.lr)},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "lr": rate(params.lr)},
    ]
    # fused is one kernel for all weights. They are so small that a call for each takes longer than the arithmetic.
    lr = rate(params.lr)
    match params.optimizer:
        case "adam":
            return [torch.optim.Adam(groups, lr=lr, fused=True, capturable=on_gpu)]
        case "adamw":
            return [torch.optim.AdamW(groups, lr=lr, fused=True, capturable=on_gpu)]
        case "sgd" | "muon":
            sgd = torch.optim.SGD(groups, lr=lr, momentum=params.momentum, nesterov=params.nesterov, fused=True)
            if not by_muon:
                return [sgd]
            return [sgd, Muon(by_muon, rate(params.lr * params.muon.lr_ratio), params.muon.momentum)]
        case other:
            assert_never(other)


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
            steps, settings = max(3, params.epochs * steps_per_epoch), params.onecycle.model_dump()
            if settings["pct_start"] * steps <= 1:  # a run so short that PyTorch would have no step for the rise
                settings["pct_start"] = 2 / steps
            peak = float(optimizer.defaults["lr"])
            return OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False, **settings)
        case other:
            assert_never(other)
