"""Record the measurements of a training, epoch by epoch and step by step."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

from cifar10.core import duration

Batch = TypeVar("Batch")


@dataclass
class History:
    epochs: list[dict[str, float]] = field(default_factory=list)  # one row per epoch, see Training
    lr: list[tuple[int, str, float]] = field(default_factory=list)  # (step, optimizer, rate)
    seconds: list[float] = field(default_factory=list)  # of each epoch, validation included
    images_per_second: list[float] = field(default_factory=list)  # of each epoch, validation not included
    waiting: float = 0.0  # seconds spent waiting for batches, over all epochs

    def add_rates(self, number: int, steps: int, rates: Callable[[], Mapping[str, float]]) -> None:
        """Keep the rates of step `number` of `steps` if it is one of about 200, the first and the last included."""
        if number % max(1, steps // 200) == 0 or number == steps - 1:
            self.lr += [(number, optimizer, rate) for optimizer, rate in rates().items()]

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield `batches`, and add the time spent waiting for them to `waiting`."""
        asked = time.perf_counter()
        for batch in batches:
            self.waiting += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    def curve(self, name: str) -> Iterator[tuple[int, str, float, int]]:
        """Yield (epoch, split, value, best) of the "loss" or "accuracy". `best` is 1 for the best validation value."""
        for split in ("train", "validation"):
            values = [row[f"{split}_{name}"] for row in self.epochs if f"{split}_{name}" in row]
            best = values.index(min(values) if name == "loss" else max(values)) if values else -1
            for i, value in enumerate(values):
                yield i + 1, split, value, int(split == "validation" and i == best)

    def line(self, epochs: int) -> str:
        """Return one line for the log about the last epoch. `epochs` is the total."""
        values = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in self.epochs[-1].items())
        speed = f"{self.images_per_second[-1]:,.0f} images/s, {self.seconds[-1]:.1f} s"
        left = (epochs - len(self.epochs)) * median(self.seconds[-5:])
        return f"epoch {len(self.epochs):>2}/{epochs}: {values}, {speed}" + (f", {duration(left)} left" if left else "")


class RunningMeans:
    """Sum loss and correct predictions on the device. Read them seldom, because reading waits for the device."""

    def __init__(
        self, device: torch.device, loss_sum: float | Tensor = 0.0, correct: int | Tensor = 0, seen: int = 0
    ) -> None:
        self.loss_sum = torch.as_tensor(loss_sum, dtype=torch.float32, device=device)
        self.correct = torch.as_tensor(correct, dtype=torch.int64, device=device)
        self.seen = seen

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add the mean loss of a batch, its logits (B, classes) and labels (B,)."""
        self.loss_sum += loss * len(labels)
        self.correct += (logits.argmax(1) == labels).sum()
        self.seen += len(labels)

    def read(self) -> tuple[float, float]:
        """Return mean loss, and accuracy 0...1."""
        return self.loss_sum.item() / self.seen, self.correct.item() / self.seen
