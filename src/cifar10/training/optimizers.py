"""Build the optimizers that params.yaml names."""

from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cifar10.core.params import Params
from cifar10.network.model import Net
from cifar10.training.muon import Muon


def build_optimizers(model: Net, params: Params) -> list[Optimizer]:
    """Return the optimizers that `params` name.

    Only convolutions have weight decay, because shrinking BatchNorm's scale and shift regularises nothing.
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
            muon = [Muon(by_muon, rate(params.lr * params.muon.lr_ratio), params.muon.momentum)] if by_muon else []
            return [sgd, *muon]
        case other:
            assert_never(other)
