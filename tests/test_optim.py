"""Optimizers and schedules against the formulas of their definitions, written out here."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from cifar10.core.params import Params
from cifar10.network.model import LAYERS, Net
from cifar10.training.muon import orthogonalised
from cifar10.training.optimizers import Schedule, build_optimizers


class Small(nn.Sequential):
    """Layers of which the last is the head, as of Net."""

    @property
    def head(self) -> nn.Module:
        return self[-1]


def with_values(params: Params, **values: Any) -> Params:
    return Params.model_validate(params.model_dump() | values)


def two_steps(params: Params) -> tuple[list[torch.Tensor], list[torch.Tensor], list[list[torch.Tensor]]]:
    """Weights before and after two optimizer steps on a convolution and a BatchNorm, and both steps' gradients."""
    torch.manual_seed(0)
    model = Small(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)).double()
    nn.init.normal_(model[1].weight)  # type: ignore[arg-type]
    (optimizer,) = build_optimizers(model, params)  # type: ignore[arg-type]
    before, gradients = [p.detach().clone() for p in model.parameters()], []
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 2, 6, 6, dtype=torch.float64)).pow(3).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        optimizer.step()
    return before, [p.detach() for p in model.parameters()], gradients


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(params: Params, nesterov: bool) -> None:
    params = with_values(params, optimizer="sgd", lr=0.01, momentum=0.8, nesterov=nesterov, weight_decay=0.1)
    before, after, gradients = two_steps(params)
    for i, weight in enumerate(before):
        decay = 0.1 if weight.ndim > 1 else 0.0  # not on BatchNorm
        velocity = torch.zeros_like(weight)
        for step in gradients:
            gradient = step[i] + decay * weight
            velocity = 0.8 * velocity + gradient
            weight = weight - 0.01 * (gradient + 0.8 * velocity if nesterov else velocity)
        torch.testing.assert_close(after[i], weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adam(params: Params, optimizer: str) -> None:
    params = with_values(params, optimizer=optimizer, lr=0.01, weight_decay=0.1)
    before, after, gradients = two_steps(params)
    for i, weight in enumerate(before):
        decay = 0.1 if weight.ndim > 1 else 0.0
        first, second = torch.zeros_like(weight), torch.zeros_like(weight)
        for t, step in enumerate(gradients, start=1):
            gradient = step[i]
            if optimizer == "adam":
                gradient = gradient + decay * weight
            else:
                weight = weight * (1 - 0.01 * decay)
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            weight = weight - 0.01 * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        torch.testing.assert_close(after[i], weight, rtol=1e-10, atol=1e-12)


def iterated(matrix: torch.Tensor) -> torch.Tensor:
    """Three rounds of Jordan's quintic iteration, which bring the singular values towards 1."""
    matrix = matrix / matrix.norm()
    for _ in range(3):
        gram = matrix @ matrix.T
        matrix = 3.4445 * matrix + (-4.775 * gram + 2.0315 * gram @ gram) @ matrix
    return matrix


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_muon(params: Params, memory_format: torch.memory_format) -> None:
    """Three steps of a wide weight, 4 x 18, and of a tall one, 90 x 36, whose steps are longer."""
    params = with_values(params, optimizer="muon", lr=0.5, muon={"lr_ratio": 0.2, "momentum": 0.8})
    torch.manual_seed(0)
    model = Small(nn.Conv2d(2, 4, 3, bias=False), nn.Conv2d(4, 90, 3, bias=False), nn.Conv2d(90, 5, 1))
    model.to(memory_format=memory_format)  # type: ignore[call-overload]
    weights = list(model.parameters())[:2]
    expected = [weight.detach().flatten(1).clone() for weight in weights]
    velocities = [torch.zeros_like(each) for each in expected]
    optimizers = build_optimizers(model, params)  # type: ignore[arg-type]
    for _ in range(3):
        for weight in model.parameters():  # as long in each step: of a much longer one the momentum would not show
            weight.grad = torch.randn_like(weight)
        gradients = [weight.grad.flatten(1) for weight in weights if weight.grad is not None]
        for optimizer in optimizers:
            optimizer.step()
        for weight, matrix, velocity, gradient in zip(weights, expected, velocities, gradients, strict=True):
            velocity.copy_(0.8 * velocity + 0.2 * gradient)
            nesterov, rows = 0.2 * gradient + 0.8 * velocity, len(matrix)
            matrix *= rows**0.5 / matrix.norm()
            matrix -= 0.1 * (iterated(nesterov) if rows == 4 else (90 / 36) ** 0.5 * iterated(nesterov.T).T)
            torch.testing.assert_close(weight.detach().flatten(1), matrix, rtol=0, atol=2e-6)


def test_orthogonalised_iterates_each_matrix_by_itself_as_torch_does_in_bf16() -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(shape) * scale for shape, scale in [((5, 36), 1e-5), ((7, 9), 1.0), ((20, 5), 1e3)]]
    for matrix, found in zip(matrices, orthogonalised(matrices), strict=True):
        expected = iterated(matrix) if len(matrix) < 10 else iterated(matrix.T).T
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
        weight, settings = nn.Parameter(torch.zeros_like(matrix)), {"momentum": 0.0, "weight_decay": 0.0, "ns_steps": 3}
        weight.grad = matrix.clone()
        torch.optim.Muon([weight], lr=1.0, adjust_lr_fn="match_rms_adamw", **settings).step()  # type: ignore[arg-type, no-untyped-call]
        torch.testing.assert_close(found, -weight.detach() / (0.2 * max(matrix.shape) ** 0.5), rtol=0, atol=2e-2)
    assert not orthogonalised([torch.zeros(3, 4)])[0].any()


def test_muon_takes_the_convolutions_but_the_depthwise_ones_and_the_head(params: Params) -> None:
    model = Net("lattice", 0.0, classes=10)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    sgd, muon = build_optimizers(model, with_values(params, optimizer="muon"))
    model(torch.randn(8, 3, 32, 32)).pow(2).sum().backward()
    muon.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    kinds = {"conv": "conv", "transition": "conv", "separable": "pointwise"}
    assert moved == {f"features.{layer.name}.{kinds[layer.kind]}.weight" for layer in LAYERS}
    assert {id(p) for group in sgd.param_groups for p in group["params"]} == {
        id(p) for name, p in model.named_parameters() if name not in moved
    }


def run_schedule(params: Params, steps: int, losses: list[float]) -> list[float]:
    """Learning rate used by each step of a run whose epochs end with these validation losses."""
    weight = nn.Parameter(torch.zeros(1))
    schedule, used = Schedule([torch.optim.SGD([weight], lr=params.lr, momentum=0.9)], params, steps), []
    optimizer = schedule.schedulers[0].optimizer
    for loss in losses:
        for _ in range(steps):
            used.append(schedule.lr["SGD"])
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch(loss)
        assert optimizer.param_groups[0]["momentum"] == 0.9  # a schedule moves the learning rate alone
    return used


def test_step(params: Params) -> None:
    params = with_values(params, schedule="step", lr=0.1, step={"step_size": 2, "gamma": 0.5})
    assert run_schedule(params, 2, [1.0] * 5) == pytest.approx([0.1] * 4 + [0.05] * 4 + [0.025] * 2)


def test_plateau(params: Params) -> None:
    params = with_values(params, schedule="plateau", lr=0.1, plateau={"factor": 0.1, "patience": 1})
    # Two epochs without improvement, one more than patience allows, and the rate drops.
    losses = [1.0, 0.9, 0.95, 0.93, 0.8, 0.85, 0.9, 0.7]
    assert run_schedule(params, 1, losses) == pytest.approx([0.1] * 4 + [0.01] * 3 + [0.001])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_plateau_lowers_every_rate_once_on_a_gpu(
    params: Params, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """With a stand-in for CUDA: the rates are tensors there, and a tensor of two groups would be lowered twice."""
    tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda value, **_: tensor(value))
    monkeypatch.setattr(nn.Parameter, "device", torch.device("cuda"), raising=False)
    settings = {"plateau": {"factor": 0.2, "patience": 0}, "muon": {"lr_ratio": 0.5, "momentum": 0.9}}
    params = with_values(params, optimizer=optimizer, schedule="plateau", lr=0.1, **settings)
    model = Small(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1))
    optimizers = build_optimizers(model, params)  # type: ignore[arg-type]
    schedule = Schedule(optimizers, params, steps_per_epoch=1)
    for loss in (1.0, 2.0):
        schedule.after_epoch(loss)
    rates = [group["lr"] for each in optimizers for group in each.param_groups]
    assert all(isinstance(rate, torch.Tensor) for rate in rates)
    assert [float(rate) for rate in rates] == pytest.approx([0.02, 0.02] + [0.01] * (optimizer == "muon"))


def test_onecycle(params: Params) -> None:
    settings = {"pct_start": 0.25, "div_factor": 10.0, "final_div_factor": 100.0}
    params = with_values(params, schedule="onecycle", lr=0.4, epochs=4, onecycle=settings)
    used = run_schedule(params, 5, [1.0] * 4)
    peak, last = 0.25 * 20 - 1, 19  # PyTorch numbers the 20 steps from 0 and puts the peak at pct_start * 20 - 1
    for step, lr in enumerate(used):
        if step <= peak:
            low, high, share = 0.04, 0.4, step / peak
        else:
            low, high, share = 0.4, 0.04 / 100, (step - peak) / (last - peak)
        assert lr == pytest.approx(high + (low - high) * (1 + math.cos(math.pi * share)) / 2)
    assert used[4] == pytest.approx(0.4)
    assert used[-1] == pytest.approx(0.0004)


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, [0.04]), (2, [0.04, 0.4]), (3, [0.04, 0.4, 0.0004]), (16, [0.04, 0.4])]
)
def test_a_run_too_short_for_the_rise_rises_in_one_step(params: Params, steps: int, expected: list[float]) -> None:
    settings = {"pct_start": 0.06, "div_factor": 10.0, "final_div_factor": 100.0}
    params = with_values(params, schedule="onecycle", lr=0.4, epochs=1, onecycle=settings)
    used = run_schedule(params, steps, [1.0])
    assert len(used) == steps
    assert used[:3][: len(expected)] == pytest.approx(expected)
    assert max(used[1:], default=0.04) == pytest.approx(used[min(1, steps - 1)])
