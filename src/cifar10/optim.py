"""Optimizers and learning-rate schedule, as params.yaml names them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from cifar10.params import Params


class ConvMuon(torch.optim.Muon):
    """torch.optim.Muon, which takes matrices only, for convolutions (O, I, K, K) in channels_last.

    Each weight is a matrix (O, K*K*I) in the same memory. It is brought to norm sqrt(O) before every step, so that lr
    alone says how far a step turns it; a BatchNorm follows sooner or later, which makes the norm itself immaterial.
    Jordan, https://kellerjordan.github.io/posts/muon, and cifar10-airbench.
    """

    def __init__(self, weights: Sequence[Tensor], lr: float, momentum: float) -> None:
        self.weights = weights
        self.matrices = [nn.Parameter(_as_matrix(weight.detach())) for weight in weights]
        # Three rounds of its iteration, as in cifar10-airbench; with torch's five an epoch takes a tenth longer.
        super().__init__(self.matrices, lr=lr, momentum=momentum, weight_decay=0.0, ns_steps=3)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            assert weight.grad is not None
            matrix.grad = weight.grad.permute(0, 2, 3, 1).flatten(1)
            matrix.mul_(len(matrix) ** 0.5 / matrix.norm())
        loss: float | None = super().step(closure)  # type: ignore[no-untyped-call]
        return loss


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.permute(0, 2, 3, 1).view(len(weight), -1)  # an error where it would have to copy


def build_optimizers(model: nn.Module, params: Params) -> list[Optimizer]:
    """Weight decay on the convolutions only: shrinking BatchNorm's scale and shift regularises nothing."""
    by_muon: list[Tensor] = []
    if params.optimizer == "muon":
        dense = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == 1 and m.kernel_size == (3, 3)]
        by_muon = [conv.weight for conv in dense[1:]]
    rest = [p for p in model.parameters() if all(p is not weight for weight in by_muon)]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # fused: one kernel for all the weights, which are so small that calling one for each takes longer than the sums.
    if params.optimizer == "adam":
        return [torch.optim.Adam(groups, lr=params.lr, fused=True)]
    if params.optimizer == "adamw":
        return [torch.optim.AdamW(groups, lr=params.lr, fused=True)]
    sgd = torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum, nesterov=params.nesterov, fused=True)
    return [sgd, ConvMuon(by_muon, **params.muon.model_dump())] if by_muon else [sgd]


class Schedule:
    """One of PyTorch's schedules for each optimizer, told of every step and epoch; each takes the call that is its own.

    At any step all the learning rates are the same fraction of their own peak or start.
    """

    def __init__(self, optimizers: Sequence[Optimizer], params: Params, steps_per_epoch: int) -> None:
        self.schedulers = [_schedule(optimizer, params, steps_per_epoch) for optimizer in optimizers]

    @property
    def lr(self) -> float:
        """That of the first optimizer."""
        return float(self.schedulers[0].optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        for scheduler in self.schedulers:
            if isinstance(scheduler, OneCycleLR):
                scheduler.step()

    def after_epoch(self, validation_loss: float | None) -> None:
        for scheduler in self.schedulers:
            if isinstance(scheduler, StepLR):
                scheduler.step()
            elif isinstance(scheduler, ReduceLROnPlateau):
                assert validation_loss is not None  # params.yaml is refused without a validation split
                scheduler.step(validation_loss)


def _schedule(optimizer: Optimizer, params: Params, steps_per_epoch: int) -> LRScheduler:
    if params.schedule == "step":
        return StepLR(optimizer, **params.step.model_dump())
    if params.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, **params.plateau.model_dump())
    steps = params.epochs * steps_per_epoch
    peak = optimizer.defaults["lr"]
    return OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False, **params.onecycle.model_dump())
