"""Run the tutorial loop, which the benchmark compares with: the same network and data, written as usual.

As a process of its own, `python -m benchmarks.tutorial`, it has PyTorch's defaults. In the process of the benchmark it
would also get what runtime.py sets up, such as freed memory that is kept.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import albumentations as A
import numpy as np
import torch
import torch.nn.functional as F
from albumentations.pytorch import ToTensorV2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cifar10.augmentation.transforms import composed
from cifar10.core.data import Split, Statistics
from cifar10.core.errors import UserError
from cifar10.core.params import Augmentation
from cifar10.network.model import Net

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STATISTICS = Statistics([0.49, 0.48, 0.45], [0.25, 0.24, 0.26])


def pictures(count: int) -> Split:
    random = np.random.default_rng(0)
    return Split(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, count, np.uint8))


def timed(call: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


class Tutorial:
    """Run this module as a process, which measures the seconds of an epoch or a prediction."""

    def __init__(self, images: int, a: Augmentation) -> None:
        command = (sys.executable, "-m", "benchmarks.tutorial", str(images), a.model_dump_json())
        # In its own session, Ctrl-C ends only the benchmark, and then the end of its input ends the process.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True
        )

    def seconds(self, what: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(what, file=self.process.stdin, flush=True)
            return float(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise UserError("the process of the tutorial's loop has ended; is there too little memory?") from None


class Samples(Dataset[tuple[Tensor, int]]):
    """Serve one augmented, normalised image (3, 32, 32) and its label at a time."""

    def __init__(self, split: Split, statistics: Statistics, a: Augmentation) -> None:
        self.split = split
        normalised = [A.Normalize(statistics.mean, statistics.std), ToTensorV2()]
        self.transform = A.Compose([*composed(a, statistics.mean).transforms, *normalised])

    def __len__(self) -> int:
        return len(self.split.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(image=self.split.images[index])["image"], int(self.split.labels[index])


def tutorial_loader(split: Split, statistics: Statistics, a: Augmentation) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(Samples(split, statistics, a), batch_size=128, shuffle=True, num_workers=2)  # type: ignore[arg-type]


def train_as_in_a_tutorial(loader: DataLoader[tuple[Tensor, Tensor]]) -> float:
    """Train the dense network for one epoch in fp32; return the training accuracy, as a tutorial prints it."""
    model = Net("dense", dropout=0.0, classes=10).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_sum, correct, seen = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(DEVICE), labels.to(DEVICE)
        optimizer.zero_grad()
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += int((logits.argmax(1) == labels).sum().item())
        seen += len(labels)
    return correct / seen


@torch.no_grad()
def predict_as_in_a_tutorial(images: Tensor) -> Tensor:
    """Return logits (N, 10) of normalised images (N, 3, 32, 32), by the dense network in fp32."""
    model = Net("dense", dropout=0.0, classes=10).eval().to(DEVICE)
    return torch.cat([model(batch.to(DEVICE)).cpu() for batch in torch.split(images, 128)])


def main() -> None:
    """Print the seconds that each line of stdin, `train` or `predict`, takes."""
    images, a = int(sys.argv[1]), Augmentation.model_validate_json(sys.argv[2])
    loader, floats = tutorial_loader(pictures(images), STATISTICS, a), torch.randn(images, 3, 32, 32)
    calls = {"train": lambda: train_as_in_a_tutorial(loader), "predict": lambda: predict_as_in_a_tutorial(floats)}
    for line in sys.stdin:
        print(timed(calls[line.strip()]), flush=True)


if __name__ == "__main__":
    main()
