"""One training step: forward, backward, optimizers; with sharpness-aware minimization (SAM) in every second step.

SAM moves the weights to where the loss is higher, takes the gradient there and moves them back. The optimizers use that
gradient, so the weights settle where the loss is flat. Foret et al., https://arxiv.org/abs/2010.01412. Here a quarter
of the batch says where to move, in every second step: the network sees an eighth more images, not twice as many.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from cifar10.core.data import Statistics
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.predict import Normalise
from cifar10.training.cuda_graph import Replayed

Learn = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # from images and labels to loss and logits

SAM_EVERY = 2  # steps
SAM_SHARE = 4  # the first 1/SAM_SHARE of the batch's images say where to move


class Learner:
    """Changes the weights of `model`, one batch at a time; with `sam_rho` 0 without SAM."""

    def __init__(
        self, model: Net, optimizers: Sequence[Optimizer], statistics: Statistics, runtime: Runtime, sam_rho: float
    ) -> None:
        self.model, self.optimizers, self.runtime, self.sam_rho = model, optimizers, runtime, sam_rho
        self.normalise = Normalise(statistics, runtime.device)
        # BatchNorm's weights stay: they are few, and a share of their norm means something else.
        self.movable: list[Tensor] = [weight for weight in model.parameters() if weight.ndim > 1]
        steps = (partial(self._step, gradients) for gradients in (self._gradients, self._sam_gradients))
        self.plain, self.sam = (Replayed(step) if runtime.device.type == "cuda" else step for step in steps)

    def __call__(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Learn from one batch, `step` of the training; its loss and logits, by the weights before or moved by SAM."""
        learn = self.sam if self.sam_rho and step % SAM_EVERY == 0 else self.plain
        return learn(images, labels)

    def _step(self, gradients: Learn, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        result = gradients(self.normalise(images), labels)
        for optimizer in self.optimizers:
            optimizer.step()
        return result

    def _sam_gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        few = slice(-(-len(images) // SAM_SHARE))
        self._gradients(images[few], labels[few])
        with moved_uphill(self.movable, self.sam_rho):
            return self._gradients(images, labels)

    def _gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of a batch of normalised images; its loss and logits."""
        with self.runtime.autocast():
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), labels)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), logits.detach()


@contextmanager
def moved_uphill(weights: list[Tensor], rho: float) -> Iterator[None]:
    """Inside, each of `weights` is moved along its gradient by `rho` times its norm; afterwards each is what it was."""
    with torch.no_grad():
        before = [weight.clone() for weight in weights]
        for weight in weights:
            assert weight.grad is not None
            weight.addcmul_(weight.grad, rho * weight.norm() / weight.grad.norm().clamp(min=1e-12))
    yield
    with torch.no_grad():
        torch._foreach_copy_(weights, before)
