"""From arrays to batches: the validation split, and batches augmented ahead by worker processes."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from albumentations import Compose
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cifar10.augment import augment_batch
from cifar10.errors import ParamsError
from cifar10.split import Split

Key = tuple[int, int]  # (epoch, step)

# Each use of (seed, epoch) has a last word of its own; none is 0, as SeedSequence takes [a, b] and [a, b, 0] for equal.
ORDER, DROPOUT, SAMPLES, FIRST_STEP = 1, 2, 3, 4


def hold_out(split: Split, validation_size: int, seed: int) -> tuple[Split, Split]:
    """Split N images into N - `validation_size` and `validation_size`, stratified by class, drawn with `seed`."""
    if validation_size == 0:
        return split, Split(split.images[:0], split.labels[:0])
    classes = len(np.unique(split.labels))
    if not classes <= validation_size <= len(split.labels) - classes:
        raise ParamsError(
            f"params.yaml: validation_size: must be 0 or from {classes} to {len(split.labels) - classes}, "
            f"so that both parts of this dataset's training images hold every class (got {validation_size})"
        )
    indices = np.arange(len(split.labels))
    train, validation = train_test_split(indices, test_size=validation_size, stratify=split.labels, random_state=seed)
    return tuple(Split(split.images[i], split.labels[i]) for i in (np.sort(train), np.sort(validation)))  # type: ignore[return-value]


class AugmentedBatches(Dataset[tuple[NDArray[np.uint8], NDArray[np.int64]]]):
    """Batch (epoch, step): uint8 images (B, 32, 32, 3) and int64 labels (B,).

    Its order and its draws derive from (seed, epoch, step) alone, so whichever worker makes it, and whenever, it is the
    same batch. The last step of an epoch holds what is left.
    """

    def __init__(self, split: Split, augment: Compose, batch_size: int, seed: int) -> None:
        self.split, self.augment, self.batch_size, self.seed = split, augment, batch_size, seed
        self.steps = -(-len(split.labels) // batch_size)

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        epoch, step = key
        order = np.random.default_rng([self.seed, epoch, ORDER]).permutation(len(self.split.labels))
        indices = order[step * self.batch_size : (step + 1) * self.batch_size]
        images = augment_batch(self.augment, self.split.images[indices], [self.seed, epoch, FIRST_STEP + step])
        return images, self.split.labels[indices].astype(np.int64)


class EpochSteps(Sampler[Key]):
    """The keys of one epoch's batches; set `epoch` before iterating. Persistent workers follow, being sent the keys."""

    def __init__(self, steps: int) -> None:
        self.epoch, self.steps = 0, steps

    def __iter__(self) -> Iterator[Key]:
        return ((self.epoch, step) for step in range(self.steps))

    def __len__(self) -> int:
        return self.steps


def batch_loader(
    batches: AugmentedBatches, workers: int | Literal["auto"]
) -> tuple[DataLoader[tuple[Tensor, Tensor]], EpochSteps]:
    """A loader whose workers make whole batches, and the sampler that tells it the epoch."""
    # auto: one worker keeps up with two cores that train.
    count = max(1, min(4, torch.get_num_threads() // 2)) if workers == "auto" else workers
    sampler = EpochSteps(batches.steps)
    loader: DataLoader[Any] = DataLoader(
        batches,
        batch_size=None,  # a key is a batch already
        sampler=sampler,
        num_workers=count,
        persistent_workers=count > 0,
        prefetch_factor=4 if count else None,
        generator=torch.Generator(),  # or it would draw from the generator that dropout uses, by worker count
    )
    return loader, sampler
