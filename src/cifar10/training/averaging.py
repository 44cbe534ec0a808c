"""The moving average of the weights, which is saved as the model."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, update_bn

from cifar10.network.model import Net

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage:
    """An exponential moving average of a network's weights, in a network of its own."""

    def __init__(self, model: Net, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.model = AveragedModel(model, multi_avg_fn=self._mix)

    @property
    def network(self) -> Net:
        return cast(Net, self.model.module)

    def update(self, model: Net, steps: int) -> None:
        """Add the weights of `model`, which has been trained for `steps` steps."""
        self.steps = steps
        self.model.update_parameters(model)

    def _mix(self, averages: Tensors, weights: Tensors, _: Tensor | int) -> None:
        # A lower decay at the beginning, or a short run would keep too much of the first weights.
        torch._foreach_lerp_(averages, weights, 1 - min(self.decay, self.steps / (self.steps + 9)))

    def recalibrate(self, batches: Iterable[Tensor]) -> None:
        """Compute BatchNorm's statistics from normalised images, as this network has not been trained on any."""
        update_bn(batches, self.network)
