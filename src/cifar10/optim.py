"""Optimizers and learning-rate schedule, as params.yaml names them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from cifar10.params import Params


class Muon(Optimizer):
    """Muon for convolution weights (O, I, K, K), each taken as a matrix (O, I*K*K).

    As torch.optim.Muon, which iterates in bf16 always; a CPU without bf16 emulates it, at a fifth of a step. Here it is
    `dtype`. One batched product for all weights of a shape was no faster: 3.7 ms a step on AVX2 either way.
    Each weight is brought to norm sqrt(O) before every step, so that lr alone says how far a step turns it; a BatchNorm
    follows sooner or later, which makes the norm itself immaterial.
    Jordan, https://kellerjordan.github.io/posts/muon, and cifar10-airbench.
    """

    def __init__(self, weights: Sequence[Tensor], lr: float, momentum: float, dtype: torch.dtype) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
                average = self.state[weight]["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                update = weight.grad.lerp(average, momentum)  # Nesterov's
                # channels_last: the matrix (O, K*K*I) lies in memory as it is; the order of columns does not matter.
                turned = orthogonalised(update.permute(0, 2, 3, 1).flatten(1).to(self.dtype))
                turned = turned.view(len(weight), *weight.shape[2:], -1).permute(0, 3, 1, 2)
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.add_(turned, alpha=-lr * max(1, len(weight) / weight[0].numel()) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Bring the singular values of a matrix (M, N) near 1: three rounds of Jordan's quintic iteration.

    Three as in cifar10-airbench; with torch's five an epoch takes a tenth longer.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(3):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return x.T if tall else x


def build_optimizers(model: nn.Module, params: Params, muon_dtype: torch.dtype) -> list[Optimizer]:
    """The optimizers that `params` name; Muon iterates in `muon_dtype`.

    Weight decay on the convolutions only: shrinking BatchNorm's scale and shift regularises nothing.
    """
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
    if not by_muon:
        return [sgd]
    return [sgd, Muon(by_muon, params.lr * params.muon.lr_ratio, params.muon.momentum, muon_dtype)]


class Schedule:
    """One of PyTorch's schedules for each optimizer; call it after every step and after every epoch.

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
