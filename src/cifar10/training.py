"""The training loop, which can be stopped after any step and resumed with the same bits."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from signal import Signals
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, update_bn
from tqdm import tqdm

from cifar10.batches import AVERAGE, DROPOUT, batch_loader
from cifar10.checkpoint import Checkpoints
from cifar10.errors import StoppedError, UserError
from cifar10.history import History
from cifar10.model import Net
from cifar10.optim import Schedule, build_optimizers
from cifar10.params import Params
from cifar10.predict import Normalise, normalised, predict, score
from cifar10.runtime import Runtime
from cifar10.split import Split
from cifar10.statistics import Statistics

Tensors = tuple[Tensor, ...] | list[Tensor]
RECALIBRATION = 5_000  # images that BatchNorm's statistics of averaged weights are taken from


class Training:
    """A training of `model`, in place, on `split`, and where it stands; what comes of it is `result`.

    A row of `history.epochs` holds epoch, loss and accuracy (0...1) of both splits. The training loss and accuracy are
    means over the epoch's augmented images, each taken before the step that learns from it; the validation's are taken
    after the epoch on plain images by `result`, and left out where nothing is held out.
    """

    def __init__(
        self, model: Net, split: Split, validation: Split, statistics: Statistics, params: Params, runtime: Runtime
    ) -> None:
        self.model, self.validation, self.statistics = model, validation, statistics
        self.params, self.runtime = params, runtime
        self.loader, self.order = batch_loader(split, statistics, params, runtime.device)
        runtime.place(model)
        self.normalise = Normalise(statistics, runtime.device)
        self.optimizers = build_optimizers(model, params, runtime.dtype)
        self.schedule = Schedule(self.optimizers, params, len(self.order))
        self.average = AveragedModel(model, multi_avg_fn=self._update_average) if params.ema else None
        if params.ema:
            chosen = np.random.default_rng([params.seed, 0, AVERAGE]).permutation(len(split.labels))[:RECALIBRATION]
            # In this order: arrays may be sorted by class, and a batch of one class does not have the variance of all.
            self.recalibration = split.images[chosen]
        self.history = History()
        self.epoch = 0  # epochs finished
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.step = 0  # steps finished of the epoch under way
        self.seconds = 0.0  # spent on them
        # Summed on the device and read seldom: reading waits for the device.
        self.loss_sum, self.correct = (torch.zeros((), device=self.runtime.device) for _ in range(2))

    @property
    def result(self) -> Net:
        """The network after the last finished epoch: with averaged weights, or `model` itself where ema is 0."""
        return cast(Net, self.average.module) if self.average else self.model

    def _update_average(self, averages: Tensors, weights: Tensors, _: Tensor | int) -> None:
        # The weights that it begins with count for less than ema says, or a short run would never lose them.
        steps = self.epoch * len(self.order) + self.step
        torch._foreach_lerp_(averages, weights, 1 - min(self.params.ema, steps / (steps + 9)))

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedule.schedulers],
            "history": asdict(self.history),
            "progress": {name: getattr(self, name) for name in ("epoch", "step", "seconds", "loss_sum", "correct")},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedule.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.history = History(**state["history"])
        for name, value in state["progress"].items():
            setattr(self, name, value.to(self.runtime.device) if isinstance(value, Tensor) else value)

    def run_epoch(self, stop: Callable[[], int]) -> bool:
        """Finish the epoch under way; False where `stop` has asked to leave it after a step."""
        started = time.perf_counter()
        self.order.epoch, self.order.first_step = self.epoch, self.step
        title = f"epoch {self.epoch + 1}/{self.params.epochs}"
        self.model.train()
        with tqdm(
            self.loader, title, len(self.order), initial=self.step, unit="step", leave=False, disable=None
        ) as bar:
            for images, labels in self._timed(bar):
                self._train_step(images, labels)
                if not bar.disable and self.step % 20 == 0:
                    bar.set_postfix_str("loss {:.3f}, accuracy {:.3f}".format(*self._means()))
                if stop() and self.step < len(self.order):
                    # Saved now, such a state would end every later run.
                    self._require_finite(self.model, self.loss_sum.item())
                    self.seconds += time.perf_counter() - started
                    return False
        loss, accuracy = self._means()
        trained = self.seconds + time.perf_counter() - started
        row = {"epoch": self.epoch + 1, "train_loss": loss, "train_accuracy": accuracy}
        if self.average:
            # The network with averaged weights has never run, so BatchNorm knows nothing of its activations.
            with self.runtime.autocast():
                update_bn(normalised(self.recalibration, self.statistics, self.runtime), self.average.module)
        if len(self.validation.labels):
            logits = predict(self.result, self.validation.images, self.statistics, self.runtime).plain
            held_out = score(logits, self.validation.labels)
            row |= {"validation_loss": held_out.loss, "validation_accuracy": held_out.accuracy}
        self._require_finite(self.result, *row.values())
        self.schedule.after_epoch(row.get("validation_loss"))
        self.history.epochs.append(row)
        self.history.seconds.append(self.seconds + time.perf_counter() - started)
        self.history.images_per_second.append(self.order.images / trained)
        self.epoch += 1
        self._begin_epoch()
        return True

    def _train_step(self, images: Tensor, labels: Tensor) -> None:
        # Dropout: its draws, too, depend on seed, epoch and step alone.
        entropy = [self.params.seed, self.epoch, DROPOUT, self.step]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        images, labels = images.to(self.runtime.device), labels.to(self.runtime.device)
        with self.runtime.autocast():
            logits = self.model(self.normalise(images))
        loss = F.cross_entropy(logits.float(), labels)
        self.loss_sum += loss.detach() * len(labels)
        self.correct += (logits.argmax(1) == labels).sum()
        self.step += 1
        # On a GPU every 50th step is looked at: once not finite, the sum stays so.
        if (self.runtime.device.type == "cpu" or self.step % 50 == 0) and not self.loss_sum.isfinite():
            raise self._diverged()
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.history.lr.append(self.schedule.lr)
        for optimizer in self.optimizers:
            optimizer.step()
        self.schedule.after_step()
        if self.average:
            self.average.update_parameters(self.model)

    def _means(self) -> tuple[float, float]:
        """Loss and accuracy of the epoch's steps so far."""
        seen = min(self.step * self.order.batch_size, self.order.images)
        return self.loss_sum.item() / seen, self.correct.item() / seen

    def _timed(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches; adds the time until each is there to `history.waiting`."""
        asked = time.perf_counter()
        for batch in batches:
            self.history.waiting += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    def _require_finite(self, model: Net, *values: float) -> None:
        weights = (parameter.sum().item() for parameter in model.parameters())
        if not all(map(math.isfinite, (*values, *weights))):
            raise self._diverged()

    def _diverged(self) -> UserError:
        return UserError(
            f"train: the loss is no longer finite in epoch {self.epoch + 1}, step {self.step}, at lr "
            f"{self.schedule.lr:g}; nothing was written; try a smaller one: dvc exp run --set-param "
            f"lr={self.params.lr / 10:g}"
        )


def train(training: Training, checkpoints: Checkpoints | None = None, stop: Callable[[], int] = lambda: 0) -> None:
    """Run `training` to its end, from where `checkpoints` left it; each epoch is saved.

    UserError where the loss is no longer finite. Where `stop` returns the number of a signal, the step under way is
    finished and saved, and StoppedError is raised.
    """
    if checkpoints and (state := checkpoints.load()):
        training.restore(state)
        print(f"resuming after epoch {training.epoch}, step {training.step} of the next", flush=True)
    while training.epoch < training.params.epochs:
        finished = training.run_epoch(stop)
        if checkpoints:
            checkpoints.save(training.state())
        if finished and not stop():  # a lost terminal stops the training, and cannot be printed to
            print(training.history.line(training.params.epochs), flush=True)
        if number := stop():
            raise StoppedError(
                f"train: stopped by {Signals(number).name} after epoch {training.epoch}, step {training.step} of the "
                "next, and saved; run the same command again to resume",
                128 + number,
            )
