"""The moving average of the weights, which is saved as the model."""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn

from cifar10.network.model import Net


class WeightAverage:
    """An exponential moving average of the weights of `model`, in a network of its own.

    Not torch.optim.swa_utils.AveragedModel, which also copies BatchNorm's statistics after every step; they are
    computed again before they are used.
    """

    def __init__(self, model: Net, decay: float) -> None:
        self.decay, self.network = decay, deepcopy(model)
        self.averages: list[Tensor] = list(self.network.parameters())
        self.weights: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Add the weights of the model, which has been trained for `steps` steps."""
        # A lower decay at the beginning, or a short run would keep too much of the first weights; 0 in the first step.
        torch._foreach_lerp_(self.averages, self.weights, 1 - min(self.decay, (steps - 1) / (steps + 8)))

    @torch.no_grad()
    def recalibrate(self, batches: Iterable[Tensor]) -> None:
        """Compute BatchNorm's statistics from normalised images, as this network has not been trained on any.

        Each image has the same weight. Not torch.optim.swa_utils.update_bn, which also switches dropout on, and for
        which a small last batch counts like a full one.
        """
        norms = [module for module in self.network.eval().modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        seen = 0
        for batch in batches:
            seen += len(batch)
            for norm in norms:
                norm.momentum = len(batch) / seen
            self.network(batch)
        self.network.eval()
