"""Optimizer and learning-rate schedule, as params.yaml names them."""

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from cifar10.errors import ParamsError
from cifar10.params import Params


def build_optimizer(model: nn.Module, params: Params) -> Optimizer:
    """Weight decay on the convolutions only: shrinking BatchNorm's scale and shift regularises nothing."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # fused: one kernel for all the weights, which are so small that calling one for each takes longer than the sums.
    if params.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum, nesterov=params.nesterov, fused=True)
    if params.optimizer == "adam":
        return torch.optim.Adam(groups, lr=params.lr, fused=True)
    return torch.optim.AdamW(groups, lr=params.lr, fused=True)


class Schedule:
    """One of PyTorch's schedules, told of every step and every epoch; each takes the call that is its own."""

    def __init__(self, optimizer: Optimizer, params: Params, steps_per_epoch: int) -> None:
        self.optimizer = optimizer
        self.scheduler: LRScheduler
        if params.schedule == "step":
            self.scheduler = StepLR(optimizer, **params.step.model_dump())
        elif params.schedule == "plateau":
            self.scheduler = ReduceLROnPlateau(optimizer, **params.plateau.model_dump())
        else:
            steps = params.epochs * steps_per_epoch
            if params.onecycle.pct_start * steps <= 1:
                raise ParamsError(
                    f"params.yaml: onecycle.pct_start: must be > {1 / steps:g}, so that the warm-up of a run of "
                    f"{steps} steps has more than one (got {params.onecycle.pct_start})"
                )
            self.scheduler = OneCycleLR(
                optimizer,
                max_lr=params.lr,
                total_steps=steps,
                cycle_momentum=False,
                **params.onecycle.model_dump(),
            )

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        if isinstance(self.scheduler, OneCycleLR):
            self.scheduler.step()

    def after_epoch(self, validation_loss: float | None) -> None:
        if isinstance(self.scheduler, StepLR):
            self.scheduler.step()
        elif isinstance(self.scheduler, ReduceLROnPlateau):
            assert validation_loss is not None  # params.yaml is refused without a validation split
            self.scheduler.step(validation_loss)
