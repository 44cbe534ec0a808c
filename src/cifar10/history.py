"""What a training went through."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class History:
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

    def line(self, epochs: int) -> str:
        """The last epoch of a run of `epochs`, for the log."""
        values = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in self.last().items())
        speed = f"{self.images_per_second[-1]:,.0f} images/s, {self.seconds[-1]:.1f} s"
        return f"epoch {len(self.epochs):>2}/{epochs}: {values}, {speed}"
