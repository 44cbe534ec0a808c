import io
from contextlib import nullcontext
from itertools import islice
from typing import Any
from unittest.mock import Mock, call

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cifar10.core.data import Split, Statistics
from cifar10.core.params import Params
from cifar10.machine.runtime import set_up
from cifar10.network.model import Net
from cifar10.training import learner
from cifar10.training.cuda_graph import Replayed
from cifar10.training.loop import Training, train
from cifar10.training.muon import Muon
from cifar10.training.optimizers import Schedule

STATISTICS = Statistics([0.5] * 3, [0.25] * 3)


def test_replayed_captures_the_fourth_call_of_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for CUDA: a graph remembers what the function did, and does it again."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", made := Mock())
    monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    seen: list[int] = []

    def function(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(len(images))
        return images.sum(), labels.sum()

    replayed = Replayed(function)
    for count in (4, 2, 4, 2, 4):
        assert replayed(torch.ones(count), torch.ones(count))[0] == count
    assert seen == [4, 2, 4, 2, 4]
    assert made.mock_calls == []
    for step in range(3):
        replayed(torch.full((4,), float(step)), torch.full((4,), 10.0 * step))
        assert seen == [4, 2, 4, 2, 4, 4]  # the capture calls the function, a replay does not
        assert made.mock_calls == [call(), *[call().replay()] * (step + 1)]
        assert replayed.images.tolist() == [step] * 4  # what the graph reads
        assert replayed.labels.tolist() == [10 * step] * 4
    assert replayed(torch.ones(2), torch.ones(2))[0] == 2  # another shape: as usual
    assert made.mock_calls == [call(), *[call().replay()] * 3]


@pytest.mark.parametrize("form", ["sgd", "muon"])
def test_a_learning_rate_may_be_a_tensor(params: Params, form: str) -> None:
    """As on a GPU, where a graph reads it in every step: the schedule writes into it, the steps are the same."""
    changed = params.model_copy(update={"schedule": "onecycle", "epochs": 1})
    weights, tensor = [], torch.tensor(0.2)
    for lr in (0.2, tensor):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(40, 3, 3, 3))
        optimizer = Muon([weight], lr, 0.9) if form == "muon" else torch.optim.SGD([weight], lr, fused=True)
        schedule = Schedule([optimizer], changed, steps_per_epoch=20)
        for _ in range(15):
            weight.grad = torch.randn_like(weight)
            optimizer.step()
            schedule.after_step()
        weights.append(weight.detach())
    torch.testing.assert_close(*weights)
    assert optimizer.param_groups[0]["lr"] is tensor
    assert tensor != 0.2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "values", [{}, {"dropout": 0.1}, {"optimizer": "sgd"}, {"optimizer": "adam", "lr": 0.001}, {"schedule": "plateau"}]
)
def test_a_graph_changes_no_bit(params: Params, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> None:
    changed = params.model_copy(update={"device": "cuda", "epochs": 2} | values)
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (1500, 32, 32, 3), np.uint8), random.integers(0, 10, 1500, np.uint8))

    def training() -> Training:
        torch.manual_seed(0)
        model = Net(changed.execution, changed.dropout, classes=10)
        return Training(
            model, split, Split(split.images[:100], split.labels[:100]), STATISTICS, changed, set_up(changed)
        )

    whole, stopped, resumed = training(), training(), training()
    train(whole)
    for batch in islice(stopped.loader, 7):
        stopped._train_step(*batch)
    buffer = io.BytesIO()
    torch.save(stopped.state(), buffer)
    buffer.seek(0)
    resumed.restore(torch.load(buffer, weights_only=True))
    train(resumed)
    monkeypatch.setattr(learner, "Replayed", lambda function: function)
    eager = training()
    train(eager)
    for other in (resumed, eager):
        for name, value in whole.learner.network.state_dict().items():
            assert torch.equal(other.learner.network.state_dict()[name], value), name
