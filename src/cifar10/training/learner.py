"""Run a training step: gradients, optimizers, learning rates, averaged weights.

Every second step uses sharpness-aware minimization (SAM). It moves the weights to where the loss is higher, takes the
gradients there and moves the weights back. The optimizers use these gradients, so the weights settle where the loss is
flat. See Foret et al., https://arxiv.org/abs/2010.01412. Here a quarter of the batch says where to move, so the network
sees an eighth more images, and not twice as many.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cifar10.core import DROPOUT
from cifar10.core.data import Statistics
from cifar10.core.params import Params
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net, Normalise
from cifar10.training.averaging import WeightAverage
from cifar10.training.cuda_graph import Replayed
from cifar10.training.optimizers import Schedule, build_optimizers

Gradients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # from images and labels to loss and logits

SAM_EVERY = 2  # steps
SAM_SHARE = 4  # the first 1/SAM_SHARE of the batch's images say where to move


class Learner:
    """Train `model` one batch at a time. `images` are the training images, uint8 (N, 32, 32, 3)."""

    def __init__(
        self,
        model: Net,
        images: NDArray[np.uint8],
        statistics: Statistics,
        params: Params,
        runtime: Runtime,
        steps_per_epoch: int,
    ) -> None:
        self.model, self.runtime, self.steps_per_epoch = model.train(), runtime, steps_per_epoch
        self.seed, self.dropout, self.sam_rho = params.seed, params.dropout, params.sam_rho
        self.normalise = Normalise(statistics, runtime.device)
        self.optimizers = build_optimizers(model, params)
        self.schedule = Schedule(self.optimizers, params, steps_per_epoch)
        self.average = WeightAverage(model, images, statistics, params, runtime) if params.ema else None
        # SAM leaves BatchNorm's weights: they are few, and a share of their norm means something else.
        self.movable: list[Tensor] = [weight for weight in model.parameters() if weight.ndim > 1]
        steps = (partial(self._update, gradients) for gradients in (self._gradients, self._sam_gradients))
        self.plain, self.sam = (Replayed(step) if runtime.device.type == "cuda" else step for step in steps)

    @property
    def network(self) -> Net:
        """Return the network to use: the one with averaged weights, or `model` itself if `ema` is 0."""
        return self.average.network if self.average else self.model

    def step(self, images: Tensor, labels: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Learn from uint8 images (B, 32, 32, 3) and labels (B,) in step `number` of the training, counted from 0.

        Return the loss and the logits (B, 10), computed by the weights before the step or, with SAM, by the moved ones.
        """
        if self.dropout:
            epoch, step = divmod(number, self.steps_per_epoch)
            entropy = [self.seed, epoch, DROPOUT, step]
            torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        update = self.sam if self.sam_rho and number % SAM_EVERY == 0 else self.plain
        loss, logits = update(images, labels)
        self.schedule.after_step()
        if self.average:
            self.average.update(number + 1)
        return loss, logits

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.network.state_dict() if self.average else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedule.schedulers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.network.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedule.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)

    def _update(self, gradients: Gradients, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = gradients(self.normalise(images), labels)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss, logits

    def _sam_gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        few = slice(-(-len(images) // SAM_SHARE))
        self._gradients(images[few], labels[few])
        with moved_uphill(self.movable, self.sam_rho):
            return self._gradients(images, labels)

    def _gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of a batch of normalised images. Return its loss and logits."""
        with self.runtime.autocast():
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), labels)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), logits.detach()


@contextmanager
def moved_uphill(weights: list[Tensor], rho: float) -> Iterator[None]:
    """Move each weight along its gradient by `rho` times the weight's norm. Move it back after the block."""
    with torch.no_grad():
        before = [weight.clone() for weight in weights]
        for weight in weights:
            assert weight.grad is not None
            weight.addcmul_(weight.grad, rho * weight.norm() / weight.grad.norm().clamp(min=1e-12))
    yield
    with torch.no_grad():
        torch._foreach_copy_(weights, before)
