"""The training loop."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from cifar10.batches import DROPOUT, batch_loader
from cifar10.errors import UserError
from cifar10.model import Net
from cifar10.optim import Schedule, build_optimizer
from cifar10.params import Params
from cifar10.predict import Normalise, predict, score
from cifar10.runtime import Runtime
from cifar10.split import Split
from cifar10.statistics import Statistics


@dataclass
class History:
    """What a training went through."""

    epochs: list[dict[str, float]] = field(default_factory=list)  # one row an epoch, as `train` says
    lr: list[float] = field(default_factory=list)  # learning rate used by each step
    seconds: list[float] = field(default_factory=list)  # each epoch, validation included
    images_per_second: list[float] = field(default_factory=list)  # each epoch's training, validation left out
    waiting: float = 0.0  # seconds, of all the epochs, that the training waited for a batch

    def last(self) -> dict[str, float]:
        """Loss and accuracy after the last epoch."""
        return {name: value for name, value in self.epochs[-1].items() if name != "epoch"}

    def curve(self, name: str) -> Iterator[tuple[float, str, float]]:
        """Rows (epoch, split, value) of the "loss" or the "accuracy"."""
        for split in ("train", "validation"):
            yield from (
                (row["epoch"], split, row[f"{split}_{name}"]) for row in self.epochs if f"{split}_{name}" in row
            )


def train(
    model: Net, split: Split, validation: Split, statistics: Statistics, params: Params, runtime: Runtime
) -> History:
    """Train `model` in place on `split`; a row of `epochs` holds epoch, loss and accuracy (0...1) of both splits.

    The training loss and accuracy are means over the epoch's augmented images, each taken before the step that learns
    from it; the validation's are taken after the epoch on plain images, and left out where nothing is held out.
    UserError where the loss is no longer finite.
    """
    loader, order = batch_loader(split, statistics, params, runtime.device)
    runtime.place(model)
    normalise = Normalise(statistics, runtime.device)
    optimizer = build_optimizer(model, params)
    schedule = Schedule(optimizer, params, len(order))
    history = History()
    for epoch in range(params.epochs):
        started = time.perf_counter()
        order.epoch = epoch
        # Dropout: the draws of an epoch depend neither on the epochs before nor on those of a neighbouring seed.
        torch.manual_seed(int(np.random.SeedSequence([params.seed, epoch, DROPOUT]).generate_state(1)[0]))
        with tqdm(loader, desc=f"epoch {epoch + 1}/{params.epochs}", unit="step", leave=False, disable=None) as bar:
            loss, accuracy = _train_epoch(model, bar, normalise, optimizer, schedule, runtime, history)
        trained = time.perf_counter()
        row = {"epoch": epoch + 1, "train_loss": loss, "train_accuracy": accuracy}
        if len(validation.labels):
            held_out = score(predict(model, validation.images, statistics, runtime), validation.labels)
            row |= {"validation_loss": held_out.loss, "validation_accuracy": held_out.accuracy}
        weights = (parameter.sum().item() for parameter in model.parameters())
        if not all(map(math.isfinite, (*row.values(), *weights))):
            raise UserError(
                f"train: the loss is no longer finite in epoch {epoch + 1}, at lr {history.lr[-1]:g} ({row}); "
                f"try a smaller one: dvc exp run --set-param lr={params.lr / 10:g}"
            )
        schedule.after_epoch(row.get("validation_loss"))
        history.epochs.append(row)
        history.seconds.append(time.perf_counter() - started)
        history.images_per_second.append(len(split.labels) / (trained - started))
        _log(history, params.epochs)
    return history


def _train_epoch(
    model: Net,
    bar: "tqdm[tuple[Tensor, Tensor]]",
    normalise: Normalise,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    runtime: Runtime,
    history: History,
) -> tuple[float, float]:
    """One pass; mean loss and accuracy over its images."""
    model.train()
    loss_sum, correct, seen = torch.zeros((), device=runtime.device), torch.zeros((), device=runtime.device), 0
    for images, labels in _timed(bar, history):
        images, labels = images.to(runtime.device), labels.to(runtime.device)
        with runtime.autocast():
            logits = model(normalise(images))
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        history.lr.append(schedule.lr)
        optimizer.step()
        schedule.after_step()
        # Summed on the device and read seldom: reading waits for the device.
        loss_sum += loss.detach() * len(labels)
        correct += (logits.argmax(1) == labels).sum()
        seen += len(labels)
        if not bar.disable and bar.n % 20 == 0:
            speed = seen / max(bar.format_dict["elapsed"], 1e-9)
            bar.set_postfix_str(
                f"loss {loss_sum.item() / seen:.3f}, accuracy {correct.item() / seen:.3f}, {speed:,.0f} images/s"
            )
    return loss_sum.item() / seen, correct.item() / seen


def _timed(batches: Iterable[tuple[Tensor, Tensor]], history: History) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches; adds the time until each is there to `history.waiting`."""
    asked = time.perf_counter()
    for batch in batches:
        history.waiting += time.perf_counter() - asked
        yield batch
        asked = time.perf_counter()


def _log(history: History, epochs: int) -> None:
    """One line an epoch, on the terminal above the bar and in a log file alike."""
    values = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in history.last().items())
    speed = f"{history.images_per_second[-1]:,.0f} images/s, {history.seconds[-1]:.1f} s"
    print(f"epoch {len(history.epochs):>2}/{epochs}: {values}, {speed}", flush=True)
