"""Average the weights over the steps. The average is saved as the model."""

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar10.core import AVERAGE
from cifar10.core.data import Statistics
from cifar10.core.params import Params
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.predict import normalised

RECALIBRATION = 5_000  # training images from which BatchNorm's statistics are computed


class WeightAverage:
    """Keep an exponential moving average of the weights of `model`, in a network of its own.

    torch.optim.swa_utils.AveragedModel would also copy BatchNorm's statistics after every step. Here they are computed
    again before they are used.
    """

    def __init__(
        self, model: Net, images: NDArray[np.uint8], statistics: Statistics, params: Params, runtime: Runtime
    ) -> None:
        self.decay, self.network = params.ema, deepcopy(model)
        self.statistics, self.runtime = statistics, runtime
        # Shuffled, because the images may be sorted by class, and a batch of one class would give wrong statistics.
        order = np.random.default_rng([params.seed, 0, AVERAGE]).permutation(len(images))
        self.images = images[order[:RECALIBRATION]]
        self.averages: list[Tensor] = list(self.network.parameters())
        self.weights: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Add the weights of the model after `steps` steps of training."""
        # The decay is 0 in the first step and rises, or a short run would keep too much of the first weights.
        torch._foreach_lerp_(self.averages, self.weights, 1 - min(self.decay, (steps - 1) / (steps + 8)))

    @torch.no_grad()
    def recalibrate(self) -> None:
        """Compute BatchNorm's statistics from `images`, because this network has not been trained on any.

        Each image has the same weight. torch.optim.swa_utils.update_bn would also switch dropout on, and count a small
        last batch like a full one.
        """
        norms = [module for module in self.network.eval().modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        seen = 0
        with self.runtime.autocast():
            for batch in normalised(self.images, self.statistics, self.runtime):
                seen += len(batch)
                for norm in norms:
                    norm.momentum = len(batch) / seen
                self.network(batch)
        self.network.eval()
