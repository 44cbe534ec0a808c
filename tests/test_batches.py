from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch

from cifar10.augmentation.fused import Fused, augmenter
from cifar10.augmentation.transforms import Composed
from cifar10.core.data import Split, Statistics, hold_out
from cifar10.core.params import Params
from cifar10.network.model import Normalise
from cifar10.training.batches import batch_loader

FORMS = ["albumentations", "fused"]
PLAIN = {"flip": "random", "flip_p": 0.0, "affine_p": 0.0, "hole_p": 0.0}


@pytest.fixture
def split() -> Split:
    """100 random images, ten of each class."""
    images = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    return Split(images, np.repeat(np.arange(10, dtype=np.uint8), 10))


def epochs(
    params: Params, split: Split, workers: int, augment_with: str = "fused"
) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    params = params.model_copy(update={"batch_size": 32, "seed": 3, "workers": workers, "augment_with": augment_with})
    loader, order = batch_loader(split, Statistics([0.5] * 3, [0.25] * 3), params)
    result = []
    for epoch in range(2):
        order.epoch = epoch
        result.append([(torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in loader])
    return result


def test_neither_the_worker_count_nor_the_specification_changes_a_bit(params: Params, split: Split) -> None:
    settings = ((0, "fused"), (1, "fused"), (2, "fused"), (0, "albumentations"), (2, "albumentations"))
    runs = (epochs(params, split, workers, form) for workers, form in settings)
    for expected, *others in zip(*(chain(*run) for run in runs), strict=True):
        for found in others:
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])


def test_auto_is_a_worker_for_four_threads(params: Params, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, statistics = params.model_copy(update={"workers": "auto"}), Statistics([0.5] * 3, [0.25] * 3)
    for threads, workers in ((3, 0), (4, 1), (9, 2), (40, 4)):
        monkeypatch.setattr("torch.get_num_threads", partial(int, threads))
        loader, _ = batch_loader(split, statistics, changed)
        assert (loader.num_workers, loader.persistent_workers) == (workers, workers > 0)


def test_the_sheet_of_samples_shows_the_form_that_trains(params: Params) -> None:
    statistics = Statistics([0.5] * 3, [0.25] * 3)
    forms = [augmenter(params.model_copy(update={"augment_with": name}), statistics) for name in FORMS]
    assert [type(form) for form in forms] == [Composed, Fused]


@pytest.mark.parametrize("augment_with", FORMS)
def test_each_epoch_holds_every_image_once_in_another_order(params: Params, split: Split, augment_with: str) -> None:
    plain = params.augmentation.model_copy(update=PLAIN)
    first, second = epochs(params.model_copy(update={"augmentation": plain}), split, 0, augment_with)
    for epoch in (first, second):
        images, labels = (torch.cat(parts).numpy() for parts in zip(*epoch, strict=True))
        assert [len(part[1]) for part in epoch] == [32, 32, 32, 4]
        seen = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        assert seen == {image.tobytes(): label for image, label in zip(*split, strict=True)}
    assert not torch.equal(first[0][0], second[0][0])


@pytest.mark.parametrize("augment_with", FORMS)
def test_alternate_mirrors_each_image_in_every_other_epoch(params: Params, split: Split, augment_with: str) -> None:
    alternate = params.augmentation.model_copy(update=PLAIN | {"flip": "alternate", "flip_p": 0.5})
    numbers = {image.tobytes(): i for i, image in enumerate(split.images)}
    numbers |= {image[:, ::-1].tobytes(): 100 + i for i, image in enumerate(split.images)}
    seen = []
    for epoch in epochs(params.model_copy(update={"augmentation": alternate}), split, 0, augment_with):
        found = np.sort([numbers[image.numpy().tobytes()] for images, _ in epoch for image in images])
        assert 25 < (found >= 100).sum() < 75
        seen += found.tolist()
    assert sorted(seen) == list(range(200))


def test_equal_images_are_changed_differently(params: Params, split: Split) -> None:
    # The same images twice: whatever the order, the draws of one step differ from those of another.
    same = Split(np.repeat(split.images[:1], 64, axis=0), np.zeros(64, np.uint8))
    (a, b), (c, d) = (tuple(images for images, _ in epoch) for epoch in epochs(params, same, 2))
    pairs = [(a, b), (a, c), (a, d), (b, c), (b, d), (c, d)]
    assert not any(torch.equal(x, y) for x, y in pairs)


def test_hold_out_is_stratified_disjoint_and_seeded(split: Split) -> None:
    train, validation = hold_out(split, 20, seed=0)
    assert np.bincount(validation.labels).tolist() == [2] * 10
    both = np.concatenate([train.images, validation.images])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in split.images}
    assert len(both) == 100
    assert np.array_equal(hold_out(split, 20, seed=0)[1].images, validation.images)
    assert not np.array_equal(hold_out(split, 20, seed=1)[1].images, validation.images)
    assert len(hold_out(split, 0, seed=0)[0].labels) == 100


def test_normalise() -> None:
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    mean, std = [0.1, 0.5, 0.9], [0.2, 0.3, 0.4]
    result = Normalise(Statistics(mean, std), torch.device("cpu"))(images)
    assert result.shape == (2, 3, 32, 32)
    assert result.is_contiguous(memory_format=torch.channels_last)
    expected = (images[1, 4, 5, 2] / 255 - 0.9) / 0.4
    torch.testing.assert_close(result[1, 2, 4, 5], expected)
    reference = (images / 255 - torch.tensor(mean)).div(torch.tensor(std)).permute(0, 3, 1, 2)
    torch.testing.assert_close(result, reference, rtol=1e-5, atol=1e-5)
