"""Make batches of arrays: the order of the images, and the augmented batches."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from cifar10.augmentation.fused import augmenter
from cifar10.augmentation.transforms import alternate_flips
from cifar10.core import FIRST_STEP, ORDER
from cifar10.core.data import Split, Statistics
from cifar10.core.errors import UserError
from cifar10.core.params import Params

# The entropy of a step's random numbers, the indices of its images, and which of them are mirrored before all else.
Key = tuple[list[int], NDArray[np.int64], NDArray[np.bool_]]
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images (B, 32, 32, 3) and labels (B,)


class Order(Sampler[Key]):
    """Yield the steps of an epoch over `images` images, in an order drawn from (seed, epoch).

    Set `epoch` before iterating. The steps before `first_step` are left out. The last batch may be smaller. Persistent
    workers follow the epoch, because they are sent the keys.
    """

    def __init__(self, images: int, params: Params) -> None:
        self.images, self.batch_size, self.seed = images, params.batch_size, params.seed
        self.augmentation = params.augmentation
        self.epoch, self.first_step = 0, 0

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng([self.seed, self.epoch, ORDER]).permutation(self.images)
        mirrored = alternate_flips(self.augmentation, self.images, self.seed, self.epoch)
        for step in range(self.first_step, len(self)):
            indices = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [self.seed, self.epoch, FIRST_STEP + step], indices, mirrored[indices]

    def __len__(self) -> int:
        return -(-self.images // self.batch_size)


class AugmentedBatches(Dataset[Batch]):
    """Make the batch of a key. The draws depend on the key alone, so each worker makes the same batch at any time."""

    def __init__(self, split: Split, augment: Callable[[NDArray[np.uint8], Sequence[int]], NDArray[np.uint8]]) -> None:
        self.split, self.augment = split, augment

    def __getitem__(self, key: Key) -> Batch:
        entropy, indices, mirrored = key
        images = self.split.images[indices]
        images[mirrored] = images[mirrored, :, ::-1]
        return self.augment(images, entropy), self.split.labels[indices].astype(np.int64)


def batch_loader(
    split: Split, statistics: Statistics, params: Params, cores: Collection[int] = ()
) -> tuple[DataLoader[Batch], Order]:
    """Return a loader of whole batches, which worker processes make ahead on `cores`, and the order that it follows."""
    order = Order(len(split.labels), params)
    # auto: a batch takes 1 to 3 ms, so on few cores a worker gains less than the core that it takes from the training.
    workers = min(4, torch.get_num_threads() // 4) if params.workers == "auto" else params.workers
    loader: DataLoader[Any] = DataLoader(
        AugmentedBatches(split, augmenter(params, statistics)),
        batch_size=None,  # a key is a batch already
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        # Arrays come through a pipe. Tensors would take shared memory, of which a container may have too little: the
        # worker then loses the batch, and the training would wait for it without end.
        collate_fn=tuple,
        worker_init_fn=partial(_begin_worker, cores),
        generator=torch.Generator(),  # otherwise it draws from the global generator, which dropout uses
    )
    return loader, order


def begun(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Start an epoch of `loader`. Raise UserError if the system does not let its processes start."""
    try:
        return iter(loader)
    except OSError as error:
        raise UserError(f"workers: their processes cannot be started: {error.strerror}; set workers: 0") from None


def _begin_worker(cores: Collection[int], _: int) -> None:
    # Otherwise a signal to the whole group (Ctrl-C, kill) would end the workers before the training saves.
    os.setpgrp()
    if cores:  # otherwise the workers would inherit the one core of the training's main thread
        os.sched_setaffinity(0, cores)
