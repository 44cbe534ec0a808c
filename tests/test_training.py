from typing import Any

import numpy as np
import pytest
import torch

from cifar10.errors import UserError
from cifar10.model import Net
from cifar10.params import Params
from cifar10.runtime import Runtime
from cifar10.split import Split
from cifar10.statistics import Statistics
from cifar10.training import History, train

STATISTICS = Statistics([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])


@pytest.fixture
def split() -> Split:
    """96 images whose brightness tells the class: something to learn in a few steps."""
    labels = np.tile(np.arange(4, dtype=np.uint8), 24)
    noise = np.random.default_rng(0).integers(0, 40, (96, 32, 32, 3))
    return Split((noise + 60 * labels[:, None, None, None]).astype(np.uint8), labels)


def trained(params: Params, split: Split, **changes: Any) -> tuple[dict[str, torch.Tensor], History]:
    defaults = {"batch_size": 32, "epochs": 2, "workers": 0, "dropout": 0.1}
    params = Params.model_validate(params.model_dump() | defaults | changes)
    torch.manual_seed(0)
    model = Net(params.execution, params.dropout)
    history = train(model, split, split, STATISTICS, params, Runtime(torch.device("cpu"), "fp32", 1))
    return model.state_dict(), history


def test_same_bits_with_any_number_of_workers(params: Params, split: Split) -> None:
    # Dropout and two epochs: the loader must not touch the generator that dropout draws from.
    expected, history = trained(params, split)
    for workers in (1, 2):
        found, again = trained(params, split, workers=workers)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
        assert again.epochs == history.epochs


def test_other_seed_other_weights(params: Params, split: Split) -> None:
    one, other = trained(params, split)[0], trained(params, split, seed=1)[0]
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_it_learns_and_tells(params: Params, split: Split, capsys: pytest.CaptureFixture[str]) -> None:
    plain = params.augmentation.model_dump() | {"hole_p": 0.0}
    _, history = trained(params, split, epochs=20, dropout=0.0, lr=0.05, augmentation=plain)
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"] / 2
    assert history.last()["validation_accuracy"] > 0.9
    assert len(history.lr) == 20 * 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[-1].startswith("epoch 20/20: train loss ")
    assert [row[0] for row in history.curve("loss") if row[1] == "validation"] == list(range(1, 21))


def test_infinite_loss_stops(params: Params, split: Split) -> None:
    with pytest.raises(UserError, match=r"no longer finite in epoch \d, at lr 1000 .*--set-param lr=100"):
        trained(params, split, lr=1000.0, weight_decay=1000.0, schedule="step", epochs=5)  # weights grow by 1e6 a step
