"""Run the training loop, which can be stopped after any step and resumed with the same bits."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from signal import Signals
from typing import Any

import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cifar10.core import duration
from cifar10.core.data import Split, Statistics
from cifar10.core.errors import StoppedError, UserError
from cifar10.core.params import Params
from cifar10.core.stop import Stop
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.predict import predict, score
from cifar10.training.batches import batch_loader, begun
from cifar10.training.checkpoints import Checkpoints
from cifar10.training.history import History, RunningMeans
from cifar10.training.learner import Learner

FIRST_STEPS = 20  # after which the log says how fast the training is


class DivergedError(UserError):
    """Say that the loss or a weight is no longer finite. A lower learning rate may help."""


class Training:
    """Train `model` in place on `split`. `learner.network` is the result.

    A row of `history.epochs` holds loss and accuracy (0...1) of both splits. The training values are
    means over the augmented images, computed in the steps that learn from them. The validation values are computed by
    `learner.network` after the epoch, on images that are not augmented. A row has none if there is no validation split.
    """

    def __init__(
        self, model: Net, split: Split, validation: Split, statistics: Statistics, params: Params, runtime: Runtime
    ) -> None:
        self.validation, self.statistics, self.params, self.runtime = validation, statistics, params, runtime
        self.loader, self.order = batch_loader(split, statistics, params, runtime.cores)
        runtime.place(model)
        self.learner = Learner(model, split.images, statistics, params, runtime, len(self.order))
        self.history = History()
        self.epoch = 0  # finished epochs
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.step = 0  # finished steps of the current epoch
        self.seconds = 0.0  # spent on them
        self.means = RunningMeans(self.runtime.device)

    def state(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state(),
            "history": asdict(self.history),
            "means": vars(self.means),
            "progress": {name: getattr(self, name) for name in ("epoch", "step", "seconds")},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.learner.restore(state["learner"])
        self.history = History(**state["history"])
        self.means = RunningMeans(self.runtime.device, **state["means"])
        for name, value in state["progress"].items():
            setattr(self, name, value)

    def run_epoch(self, stop: Stop) -> bool:
        """Run the current epoch to its end and return True. Return False if `stop` ended it between two steps."""
        started = time.perf_counter()
        began = self.order.first_step = self.step
        self.order.epoch = self.epoch
        title = f"epoch {self.epoch + 1}/{self.params.epochs}"
        with tqdm(
            begun(self.loader), title, len(self.order), initial=self.step, unit="step", leave=False, disable=None
        ) as bar:
            for batch in self.history.timed(stop.ending(bar)):
                self._train_step(*batch)
                if self.epoch == 0 and self.step == FIRST_STEPS and not stop.number:  # a sign of life in a log file
                    speed = (self.step - began) * self.params.batch_size / (time.perf_counter() - started)
                    left = self.params.epochs * self.order.images / speed
                    bar.write(f"starting with {speed:,.0f} images/s: about {duration(left)} for all epochs")
                    sys.stdout.flush()
                if not bar.disable and self.step % 20 == 0:
                    bar.set_postfix_str("loss {:.3f}, accuracy {:.3f}".format(*self.means.read()))
        if self.step < len(self.order):
            if self.step:  # if a state that is not finite were saved, every later run would resume from it and fail
                self._require_finite(self.learner.model, *self.means.read())
            self.seconds += time.perf_counter() - started
            return False
        loss, accuracy = self.means.read()
        trained = self.seconds + time.perf_counter() - started
        row = {"train_loss": loss, "train_accuracy": accuracy}
        last = self.epoch + 1 == self.params.epochs
        if self.learner.average and (last or len(self.validation.labels)):  # otherwise nobody reads its BatchNorm
            self.learner.average.recalibrate()
        if len(self.validation.labels):
            logits = predict(self.learner.network, self.validation.images, self.statistics, self.runtime).plain
            held_out = score(logits, self.validation.labels)
            row |= {"validation_loss": held_out.loss, "validation_accuracy": held_out.accuracy}
        self._require_finite(self.learner.network, *row.values())
        self.learner.schedule.after_epoch(row.get("validation_loss"))
        self.history.epochs.append(row)
        self.history.seconds.append(self.seconds + time.perf_counter() - started)
        self.history.images_per_second.append(self.order.images / trained)
        self.epoch += 1
        self._begin_epoch()
        return True

    def _train_step(self, *batch: NDArray[Any]) -> None:
        number, steps = self.epoch * len(self.order) + self.step, self.params.epochs * len(self.order)
        self.history.add_rates(number, steps, lambda: self.learner.schedule.lr)  # on a GPU, reading waits for it
        images, labels = (torch.from_numpy(each).to(self.runtime.device, non_blocking=True) for each in batch)
        with self.runtime.turn:
            loss, logits = self.learner.step(images, labels, number)
            self.means.add(loss, logits, labels)
        self.step += 1
        # On a GPU only every 50th step is checked, as reading waits for it; a sum that is not finite stays so.
        if (self.runtime.device.type == "cpu" or self.step % 50 == 0) and not self.means.loss_sum.isfinite():
            raise self._diverged()

    def _require_finite(self, model: Net, *values: float) -> None:
        weights = (parameter.sum().item() for parameter in model.parameters())
        if not all(map(math.isfinite, (*values, *weights))):
            raise self._diverged()

    def _diverged(self) -> DivergedError:
        return DivergedError(
            f"the loss is no longer finite in epoch {self.epoch + 1}, step {self.step}, at lr "
            f"{next(iter(self.learner.schedule.lr.values())):g}"
        )


def train(
    training: Training,
    checkpoints: Checkpoints | None = None,
    stop: Stop | None = None,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Resume `training` from `checkpoints` and run it to its end. Save each epoch, then call `after_epoch`.

    Raise DivergedError if the loss is no longer finite, and StoppedError, after the step under way is finished and
    saved, if `stop` has noted a signal.
    """
    stop = stop or Stop()
    if checkpoints and (state := checkpoints.load()):
        training.restore(state)
        print(f"resuming after epoch {training.epoch}, step {training.step} of the next", flush=True)
    while training.epoch < training.params.epochs:
        finished = training.run_epoch(stop)
        if checkpoints:
            checkpoints.save(training.state())
        if finished:
            after_epoch()
        if finished and not stop.number:  # a lost terminal stops the training, and printing to it would fail
            print(training.history.line(training.params.epochs), flush=True)
        if stop.number:
            raise StoppedError(
                f"stopped by {Signals(stop.number).name} after epoch {training.epoch}, step {training.step} of the "
                "next, and saved",
                128 + stop.number,
            )
