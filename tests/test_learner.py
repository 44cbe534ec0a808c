from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from cifar10.core.data import Statistics
from cifar10.core.params import Params
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.training.learner import Learner, moved_uphill

MEAN, STD, LR, RHO = 0.5, 0.25, 0.1, 0.05
Weights = dict[str, Tensor]


def batch(images: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (images, 32, 32, 3), generator=generator, dtype=torch.uint8)
    return pictures, torch.randint(0, 10, (images,), generator=generator)


def learner(params: Params, sam_rho: float) -> Learner:
    torch.manual_seed(0)
    model = Net("lattice", 0.0, classes=10).train()
    first, *others = model.parameters()
    optimizers: list[Optimizer] = [torch.optim.SGD([first], LR), torch.optim.SGD(others, LR)]
    statistics, runtime = Statistics([MEAN] * 3, [STD] * 3), Runtime(torch.device("cpu"), "fp32", 1)
    params = params.model_copy(update={"sam_rho": sam_rho, "ema": 0.0, "schedule": "step"})
    found = Learner(model, np.empty((0, 32, 32, 3), np.uint8), statistics, params, runtime, steps_per_epoch=9)
    found.optimizers = optimizers
    return found


def weights(model: Net) -> Weights:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def gradients(at: Weights, images: Tensor, labels: Tensor) -> Weights:
    """Of the mean cross-entropy, in a network of its own."""
    x = (images.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    model = Net("lattice", 0.0, classes=10).train()
    model.load_state_dict(at, strict=False)
    loss = F.cross_entropy(model(x), labels)
    return dict(zip(at, torch.autograd.grad(loss, list(model.parameters())), strict=True))


@pytest.mark.parametrize("images", [16, 9, 3])
def test_a_step_of_sam_by_hand(params: Params, images: int) -> None:
    learn, (pictures, labels) = learner(params, RHO), batch(images)
    before = weights(learn.model)
    quarter = {16: 4, 9: 3, 3: 1}[images]  # rounded up, so never none
    uphill = gradients(before, pictures[:quarter], labels[:quarter])
    moved = {
        name: weight + RHO * weight.norm() * uphill[name] / uphill[name].norm() if weight.ndim > 1 else weight
        for name, weight in before.items()
    }
    found = gradients(moved, pictures, labels)
    learn.step(pictures, labels, number=2)
    for name, weight in learn.model.named_parameters():
        torch.testing.assert_close(weight.detach(), before[name] - LR * found[name], rtol=1e-4, atol=1e-6)
    plain = gradients(before, pictures, labels)
    assert max(float((found[name] - plain[name]).norm() / plain[name].norm()) for name in found) > 0.01


@pytest.mark.parametrize(("sam_rho", "step"), [(0.0, 2), (RHO, 1)])
def test_the_other_steps_are_plain(params: Params, sam_rho: float, step: int) -> None:
    learn, (pictures, labels) = learner(params, sam_rho), batch(16)
    before, passes = weights(learn.model), list[int]()
    learn.model.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    loss, logits = learn.step(pictures, labels, step)
    assert passes == [16]
    found = gradients(before, pictures, labels)
    for name, weight in learn.model.named_parameters():
        torch.testing.assert_close(weight.detach(), before[name] - LR * found[name], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_moved_weights_are_what_they_were_bit_for_bit() -> None:
    weight, flat = torch.randn(40, 30), torch.zeros(2, 2)
    weight.grad, flat.grad = torch.randn(40, 30), torch.zeros(2, 2)  # a gradient of 0 moves nothing
    before = weight.clone()
    with moved_uphill([weight, flat], 0.3):
        torch.testing.assert_close((weight - before).norm(), 0.3 * before.norm())
        torch.testing.assert_close((weight - before) / (0.3 * before.norm()), weight.grad / weight.grad.norm())
        assert not flat.any()
    assert torch.equal(weight, before)


class VectorFunctions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collect calls of what PyTorch takes from MKL's vector functions, whose last bits depend on the processor."""

    NAMES = "acos asin atan cos erf exp expm1 log log10 log1p log2 sin sqrt tan tanh"

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.called = set[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__.removeprefix("_foreach_").rstrip("_")
        tensors = [each for each in args if isinstance(each, torch.Tensor)]
        if name in self.NAMES.split() and any(each.dtype == torch.float32 for each in tensors):
            self.called.add(name)
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "muon", "adam", "adamw"])
def test_a_portable_step_takes_nothing_from_mkl_that_depends_on_the_processor(params: Params, optimizer: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    labels, statistics = torch.arange(8) % 10, Statistics([MEAN] * 3, [STD] * 3)
    runtime, changed = Runtime(torch.device("cpu"), "portable", 1), params.model_copy(update={"optimizer": optimizer})
    learner = Learner(Net("lattice", 0.1, classes=10), images, statistics, changed, runtime, 1)
    with VectorFunctions() as functions:
        learner.step(torch.from_numpy(images), labels, 0)
        assert functions.called == set()
        torch.ones(9).sqrt()
    assert functions.called == {"sqrt"}
