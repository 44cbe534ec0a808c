"""The training loop, which can be stopped after any step and resumed with the same bits."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from signal import Signals
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cifar10.augmentation.augmenter import AVERAGE, DROPOUT
from cifar10.core.data import Split, Statistics
from cifar10.core.errors import StoppedError, UserError
from cifar10.core.params import Params
from cifar10.core.stop import Stop
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.predict import normalised, predict, score
from cifar10.training.averaging import WeightAverage
from cifar10.training.batches import batch_loader, begun
from cifar10.training.checkpoints import Checkpoints
from cifar10.training.history import History
from cifar10.training.learner import Learner
from cifar10.training.optimizers import build_optimizers
from cifar10.training.running_means import RunningMeans
from cifar10.training.schedules import Schedule

RECALIBRATION = 5_000  # training images from which BatchNorm's statistics are computed for the averaged weights


class DivergedError(UserError):
    """The loss or a weight is no longer finite; a lower learning rate may help."""


class Training:
    """Trains `model` in place on `split`; holds the state of the training, and its `result`.

    A row of `history.epochs` holds the epoch, and loss and accuracy (0...1) of both splits. The training values are
    means over the epoch's augmented images, each computed in the step that learns from it, by the weights before it or,
    in a step with SAM, by those that SAM has moved.
    The validation values are computed by `result` after the epoch, on images that are not augmented; without a
    validation split they are left out.
    """

    def __init__(
        self, model: Net, split: Split, validation: Split, statistics: Statistics, params: Params, runtime: Runtime
    ) -> None:
        self.model, self.validation, self.statistics = model, validation, statistics
        self.params, self.runtime = params, runtime
        self.loader, self.order = batch_loader(split, statistics, params, runtime.cores)
        runtime.place(model)
        self.optimizers = build_optimizers(model, params)
        self.schedule = Schedule(self.optimizers, params, len(self.order))
        self.learn = Learner(model, self.optimizers, statistics, runtime, params.sam_rho)
        self.average = WeightAverage(model, params.ema) if params.ema else None
        if params.ema:
            chosen = np.random.default_rng([params.seed, 0, AVERAGE]).permutation(len(split.labels))[:RECALIBRATION]
            # Shuffled: the arrays may be sorted by class, and a batch of one class has another variance.
            self.recalibration = split.images[chosen]
        self.history = History()
        self.epoch = 0  # finished epochs
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.step = 0  # finished steps of the current epoch
        self.seconds = 0.0  # spent on them
        self.means = RunningMeans(self.runtime.device)

    @property
    def result(self) -> Net:
        """The network after the last finished epoch: with averaged weights, or `model` itself where ema is 0."""
        return self.average.network if self.average else self.model

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.network.state_dict() if self.average else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedule.schedulers],
            "history": asdict(self.history),
            "means": self.means.state(),
            "progress": {name: getattr(self, name) for name in ("epoch", "step", "seconds")},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.network.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedule.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.history = History(**state["history"])
        self.means = RunningMeans(self.runtime.device, **state["means"])
        for name, value in state["progress"].items():
            setattr(self, name, value)

    def run_epoch(self, stop: Stop) -> bool:
        """Run the current epoch to its end and return True; False if `stop` ended it between two steps."""
        started = time.perf_counter()
        self.order.epoch, self.order.first_step = self.epoch, self.step
        title = f"epoch {self.epoch + 1}/{self.params.epochs}"
        self.model.train()
        with tqdm(
            begun(self.loader), title, len(self.order), initial=self.step, unit="step", leave=False, disable=None
        ) as bar:
            for batch in self.history.timed(stop.ending(bar)):
                self._train_step(*batch)
                if not bar.disable and self.step % 20 == 0:
                    bar.set_postfix_str("loss {:.3f}, accuracy {:.3f}".format(*self.means.read()))
        if self.step < len(self.order):
            if self.step:  # if a state that is not finite were saved, every later run would resume from it and fail
                self._require_finite(self.model, *self.means.read())
            self.seconds += time.perf_counter() - started
            return False
        loss, accuracy = self.means.read()
        trained = self.seconds + time.perf_counter() - started
        row = {"epoch": self.epoch + 1, "train_loss": loss, "train_accuracy": accuracy}
        if self.average:
            with self.runtime.autocast():
                self.average.recalibrate(normalised(self.recalibration, self.statistics, self.runtime))
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

    def _train_step(self, *batch: NDArray[Any]) -> None:
        if self.params.dropout:
            entropy = [self.params.seed, self.epoch, DROPOUT, self.step]
            torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        done = self.epoch * len(self.order) + self.step
        if done % 50 == 0:
            self.history.lr += [(done, optimizer, lr) for optimizer, lr in self.schedule.lr.items()]
        images, labels = (torch.from_numpy(each).to(self.runtime.device, non_blocking=True) for each in batch)
        with self.runtime.turn:
            loss, logits = self.learn(images, labels, done)
            self.means.add(loss, logits, labels)
        self.step += 1
        # On a GPU only every 50th step is checked, as reading waits for it; a sum that is not finite stays so.
        if (self.runtime.device.type == "cpu" or self.step % 50 == 0) and not self.means.loss_sum.isfinite():
            raise self._diverged()
        self.schedule.after_step()
        if self.average:
            self.average.update(done + 1)

    def _require_finite(self, model: Net, *values: float) -> None:
        weights = (parameter.sum().item() for parameter in model.parameters())
        if not all(map(math.isfinite, (*values, *weights))):
            raise self._diverged()

    def _diverged(self) -> DivergedError:
        return DivergedError(
            f"the loss is no longer finite in epoch {self.epoch + 1}, step {self.step}, at lr "
            f"{next(iter(self.schedule.lr.values())):g}"
        )


def train(
    training: Training,
    checkpoints: Checkpoints | None = None,
    stop: Stop | None = None,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Run `training` to its end, resuming from `checkpoints`; each epoch is saved, then `after_epoch` called.

    DivergedError where the loss is no longer finite. Where `stop` has noted a signal, the step under way is finished
    and saved, and StoppedError is raised.
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
