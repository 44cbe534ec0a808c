"""Loss and accuracy over the images of an epoch so far."""

from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Sums on the device, read seldom: reading waits for the device."""

    def __init__(
        self, device: torch.device, loss_sum: float | Tensor = 0.0, correct: int | Tensor = 0, seen: int = 0
    ) -> None:
        self.loss_sum = torch.as_tensor(loss_sum, dtype=torch.float32, device=device)
        self.correct = torch.as_tensor(correct, dtype=torch.int64, device=device)
        self.seen = seen

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take in the mean loss of a batch, its logits (B, 10) and labels (B,)."""
        self.loss_sum += loss * len(labels)
        self.correct += (logits.argmax(1) == labels).sum()
        self.seen += len(labels)

    def read(self) -> tuple[float, float]:
        """Mean loss, and accuracy 0...1."""
        return self.loss_sum.item() / self.seen, self.correct.item() / self.seen

    def state(self) -> dict[str, Any]:
        """What the constructor takes beside the device."""
        return {"loss_sum": self.loss_sum, "correct": self.correct, "seen": self.seen}
