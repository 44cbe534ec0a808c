"""The tutorial loop, which the benchmark measures against: the same network and data, written as it usually is."""

import albumentations as A
import torch
import torch.nn.functional as F
from albumentations.pytorch import ToTensorV2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cifar10.core.data import Split, Statistics
from cifar10.core.params import Augmentation
from cifar10.network.model import Net
from cifar10.training.augmentation import composed


class Samples(Dataset[tuple[Tensor, int]]):
    """One augmented, normalised image (3, 32, 32) and its label at a time."""

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
    """One epoch of the dense network in fp32; the training accuracy, as a tutorial prints it."""
    model = Net("dense", dropout=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_sum, correct, seen = 0.0, 0, 0
    for images, labels in loader:
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
    """Logits of normalised images (N, 3, 32, 32), by the dense network in fp32."""
    model = Net("dense", dropout=0.0).eval()
    return torch.cat([model(batch) for batch in torch.split(images, 128)])
