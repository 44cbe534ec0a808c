import os
import re
from collections.abc import Iterator
from copy import deepcopy
from errno import ENOSPC
from itertools import count, pairwise
from multiprocessing import active_children
from pathlib import Path
from signal import SIGHUP, SIGTERM
from threading import Event, Timer
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from cifar10.core.data import Split, Statistics
from cifar10.core.errors import StoppedError, UserError
from cifar10.core.params import Params
from cifar10.core.stop import Stop
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.training.averaging import WeightAverage
from cifar10.training.batches import Batch
from cifar10.training.checkpoints import Checkpoints
from cifar10.training.history import History
from cifar10.training.loop import Training, train
from stages.train import run

STATISTICS = Statistics([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])


@pytest.fixture
def split() -> Split:
    """96 images whose brightness tells the class: something to learn in a few steps."""
    labels = np.tile(np.arange(4, dtype=np.uint8), 24)
    noise = np.random.default_rng(0).integers(0, 40, (96, 32, 32, 3))
    return Split((noise + 60 * labels[:, None, None, None]).astype(np.uint8), labels)


def started(params: Params, split: Split, init_seed: int = 0, **changes: Any) -> Training:
    defaults = {"batch_size": 32, "epochs": 2, "workers": 0, "dropout": 0.1}
    params = Params.model_validate(params.model_dump() | defaults | changes)
    torch.manual_seed(init_seed)
    model = Net(params.execution, params.dropout, classes=10)
    validation = Split(split.images[:30], split.labels[:30])
    return Training(model, split, validation, STATISTICS, params, Runtime(torch.device("cpu"), "fp32", 1))


def trained(params: Params, split: Split, **changes: Any) -> tuple[dict[str, torch.Tensor], History]:
    training = started(params, split, **changes)
    train(training)
    return training.learner.network.state_dict(), training.history


def test_dropout_draws_again_at_every_step(params: Params, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    training = started(params, split)
    seeds: list[int] = []
    monkeypatch.setattr("torch.manual_seed", seeds.append)
    train(training)
    assert len(set(seeds)) == len(seeds) == 6


def stopped_in(number: int, signal: int, training: Training, checkpoints: Checkpoints) -> None:
    """Train; the signal comes in the step of this number, counted from the first of the training."""
    stop, learn = Stop(), training.learner.step

    def learn_and_note(images: torch.Tensor, labels: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step + 1 == number:
            stop.note(signal)
        return learn(images, labels, step)

    training.learner.step = learn_and_note  # type: ignore[assignment]
    train(training, checkpoints, stop)


def test_what_cannot_be_printed_to_a_lost_terminal_is_not(
    params: Params, split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoppedError, match="stopped by SIGHUP after epoch 1, step 0 of the next"):
        stopped_in(3, SIGHUP, started(params, split), Checkpoints(tmp_path, "key"))
    assert capsys.readouterr().out == ""


def test_it_learns_and_logs(params: Params, split: Split, capsys: pytest.CaptureFixture[str]) -> None:
    plain = params.augmentation.model_dump() | {"hole_p": 0.0}
    _, history = trained(params, split, epochs=20, dropout=0.0, lr=0.02, augmentation=plain)
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"] / 2
    assert history.epochs[-1]["validation_accuracy"] > 0.9
    assert [row[:2] for row in history.lr] == [(step, name) for step in range(60) for name in ("SGD", "Muon")]
    for sgd, muon in zip(history.lr[::2], history.lr[1::2], strict=True):
        assert muon[2] == pytest.approx(params.muon.lr_ratio * sgd[2])
    assert len(history.epochs) == 20
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {epoch:>2}/20" for epoch in range(1, 21)]


def test_a_log_says_early_how_long_it_takes(params: Params, split: Split, capsys: pytest.CaptureFixture[str]) -> None:
    _, history = trained(params, split, epochs=2, batch_size=4)
    first, *epochs = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"starting with [\d,]+ images/s: about \d+ s for all epochs", first)
    assert [line.endswith(" s left") for line in epochs] == [True, False]
    assert history.lr[-1][0] == 47  # of 48: each step of a short run


def test_what_is_reported_and_what_the_schedule_watches(
    params: Params, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training: the mean over the images of unequal batches. Validation: of the averaged network, on its own split."""
    training = started(params, split, batch_size=36, ema=0.9, schedule="plateau")
    batches, watched = list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]](), list[float]()
    learn = training.learner.step

    def noted(images: torch.Tensor, labels: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        loss, logits = learn(images, labels, step)
        batches.append((loss, logits.argmax(1), labels))
        return loss, logits

    monkeypatch.setattr(training.learner, "step", noted)
    monkeypatch.setattr(training.learner.schedule, "after_epoch", watched.append)
    train(training)
    assert [len(labels) for *_, labels in batches] == [36, 36, 24] * 2
    for row, found in zip(training.history.epochs, (batches[:3], batches[3:]), strict=True):
        assert row["train_loss"] == pytest.approx(sum(float(loss) * len(labels) for loss, _, labels in found) / 96)
        assert row["train_accuracy"] == sum(int((guess == labels).sum()) for _, guess, labels in found) / 96
    assert watched == [row["validation_loss"] for row in training.history.epochs]
    images = torch.from_numpy(training.validation.images).permute(0, 3, 1, 2) / 255
    labels = torch.from_numpy(training.validation.labels).long()
    with torch.no_grad():
        logits = training.learner.network.eval()((images - 0.5) / 0.25)
    last = training.history.epochs[-1]
    assert last["validation_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-4)
    assert last["validation_accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))


def test_infinite_loss_stops_at_its_step(params: Params, split: Split, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "key")
    # Weights grow by a factor of 1e6 at every step.
    changes: dict[str, Any] = {"optimizer": "sgd", "lr": 1000.0, "weight_decay": 1000.0, "schedule": "step"}
    training = started(params, split, batch_size=16, **changes)
    said = r"the loss is no longer finite in epoch 1, step \d, at lr 1000"
    advice = "no network was written; try a lower one: dvc exp run --set-param lr=100"
    with pytest.raises(UserError, match=f"^train: {said}; {advice}$"):
        run(training, checkpoints)
    assert checkpoints.load() is None  # no state that is not finite is kept


def test_weights_that_the_last_step_made_infinite_are_noticed(params: Params, split: Split) -> None:
    training = started(params, split, optimizer="sgd", batch_size=96, schedule="step", epochs=1)
    training.validation = Split(split.images[:0], split.labels[:0])
    for optimizer in training.learner.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 1e39  # infinite in fp32
    with pytest.raises(UserError, match=r"no longer finite in epoch 1, step 1,"):
        train(training)
    assert training.means.loss_sum.isfinite()


def test_averaged_weights_by_hand(params: Params, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    training = started(params, split, ema=0.2, dropout=0.0)
    average, expected = training.learner.average, dict[str, torch.Tensor]()
    assert average
    update = average.update
    numbers = count(1)

    def noted(steps: int) -> None:
        update(steps)
        assert steps == next(numbers)
        decay = min(0.2, (steps - 1) / (steps + 8))
        for name, weight in training.learner.model.named_parameters():
            expected[name] = decay * expected.get(name, weight.detach()) + (1 - decay) * weight.detach()

    monkeypatch.setattr(average, "update", noted)
    train(training)
    for name, weight in training.learner.network.named_parameters():
        torch.testing.assert_close(weight, expected[name])
        assert not torch.equal(weight, training.learner.model.get_parameter(name))
    assert not np.array_equal(average.images, split.images)  # drawn: arrays may be sorted by class
    # BatchNorm's statistics are those that these weights bring about on plain images.
    images = torch.from_numpy(split.images).permute(0, 3, 1, 2).float() / 255
    weight = training.learner.network.get_parameter("features.conv1.conv.weight")
    activations = torch.conv2d((images - 0.5) / 0.25, weight, padding=1)
    found = training.learner.network.get_submodule("features.conv1.bn")
    assert isinstance(found, torch.nn.BatchNorm2d)
    torch.testing.assert_close(found.running_mean, activations.mean((0, 2, 3)))
    torch.testing.assert_close(found.running_var, activations.var((0, 2, 3)), rtol=1e-4, atol=1e-4)


def test_recalibration_weighs_images_equally_and_drops_nothing_out(params: Params, split: Split) -> None:
    """A batch of one image counts as one of 125 counts for each of its images; dropout is off, as in use."""

    def recalibrated(images: NDArray[np.uint8]) -> Net:
        changed = params.model_copy(update={"dropout": 0.5})
        model = Net("lattice", dropout=0.5, classes=10)
        average = WeightAverage(model, images, STATISTICS, changed, Runtime(torch.device("cpu"), "fp32", 1))
        average.recalibrate()
        assert not average.network.training
        return average.network

    def normalised(images: NDArray[np.uint8]) -> torch.Tensor:
        return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25

    images = np.concatenate([split.images, split.images[:30]])  # 126: a batch of 125 and one of 1
    first = recalibrated(images).get_submodule("features.conv1")
    torch.testing.assert_close(first.bn.running_mean, first.conv(normalised(images)).mean((0, 2, 3)))  # type: ignore[operator, union-attr]
    network = recalibrated(split.images)
    expected = deepcopy(network)
    for module in expected.modules():
        module.train(isinstance(module, torch.nn.BatchNorm2d))
    inputs = expected.features[:2](normalised(split.images))  # normalised by the batch's own statistics
    second = network.get_submodule("features.conv3")
    torch.testing.assert_close(second.bn.running_mean, second.conv(inputs).mean((0, 2, 3)))  # type: ignore[operator, union-attr]


def test_the_steps_of_sam_alternate_across_epochs(
    params: Params, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = started(params, split, epochs=3)
    assert len(training.order) % 2 == 1
    step = Mock(side_effect=training.learner.step)
    monkeypatch.setattr(training.learner, "step", step)
    train(training)
    assert [call.args[2] for call in step.call_args_list] == list(range(3 * len(training.order)))


def test_a_signal_ends_the_wait_for_a_batch(params: Params, split: Split, tmp_path: Path) -> None:
    """Whatever the loader does: here it never delivers the third batch."""
    training = started(params, split)
    batches = list(training.loader)

    def two_and_no_more() -> Iterator[Batch]:
        yield from batches[:2]
        Timer(0.2, os.kill, [os.getpid(), SIGTERM]).start()
        Event().wait()

    training.loader = two_and_no_more()  # type: ignore[assignment]
    with pytest.raises(StoppedError, match="train: stopped by SIGTERM after epoch 0, step 2 of the next, and saved"):
        run(training, Checkpoints(tmp_path, "key"))
    state = Checkpoints(tmp_path, "key").load()
    assert state
    assert state["progress"]["step"] == 2


def test_a_signal_before_the_first_step_is_no_fault(params: Params, split: Split, tmp_path: Path) -> None:
    stop = Stop()
    stop.note(SIGTERM)
    with pytest.raises(StoppedError, match="after epoch 0, step 0 of the next"):
        train(started(params, split), Checkpoints(tmp_path, "key"), stop)


def test_a_worker_that_is_killed_is_named_in_one_line(params: Params, split: Split, tmp_path: Path) -> None:
    """As the system does where memory is short."""
    training = started(params, split, workers=1)
    learn = training.learner.step

    def kill(images: torch.Tensor, labels: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        for worker in active_children():
            worker.kill()
        return learn(images, labels, step)

    training.learner.step = kill  # type: ignore[assignment]
    with pytest.raises(UserError) as error:
        run(training, Checkpoints(tmp_path, "key"))
    assert re.fullmatch(
        r"train: a process that makes batches has died, .*: DataLoader worker .* The training is saved in "
        rf"{tmp_path} .*; resume it without such processes: dvc exp run --set-param workers=0",
        str(error.value),
    )


def test_workers_that_the_system_does_not_start_are_named(
    params: Params, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = started(params, split, workers=1)
    monkeypatch.setattr(DataLoader, "_get_iterator", Mock(side_effect=OSError(ENOSPC, os.strerror(ENOSPC))))
    message = "^workers: their processes cannot be started: No space left on device; set workers: 0$"
    with pytest.raises(UserError, match=message):
        train(training)


def test_without_averaging_the_result_is_the_network_itself(params: Params, split: Split) -> None:
    training = started(params, split, ema=0.0)
    assert training.learner.network is training.learner.model


def test_a_state_that_is_not_finite_is_not_saved_on_a_signal(params: Params, split: Split, tmp_path: Path) -> None:
    # The loss of step 1 is finite, and so is the sum; the step itself makes the weights infinite.
    training = started(params, split, optimizer="sgd", batch_size=32, schedule="step")
    for optimizer in training.learner.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 1e39
    checkpoints = Checkpoints(tmp_path, "key")
    with pytest.raises(UserError, match=r"no longer finite in epoch 1, step 1,"):
        stopped_in(1, SIGTERM, training, checkpoints)
    assert checkpoints.load() is None


@pytest.mark.parametrize(
    ("stops", "settings"),
    [
        ((1, 3, 5, 6, 8), {"optimizer": "muon", "ema": 0.9}),
        ((2, 3), {"optimizer": "sgd", "ema": 0.0}),
        ((2, 3), {"optimizer": "adam", "lr": 0.01, "schedule": "step", "step": {"step_size": 1, "gamma": 0.5}}),
        ((6, 7), {"optimizer": "adamw", "lr": 0.01, "schedule": "plateau", "plateau": {"factor": 0.5, "patience": 0}}),
    ],
    ids=["muon", "sgd", "adam", "adamw"],
)
def test_stopped_after_any_step_it_resumes_with_the_same_bits(
    params: Params,
    split: Split,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stops: tuple[int, ...],
    settings: dict[str, Any],
) -> None:
    expected, history = trained(params, split, epochs=3, **settings)
    checkpoints = Checkpoints(tmp_path, "key")
    for before, steps in pairwise((0, *stops)):  # of 9: in the middle of an epoch and at its end
        # Another initialisation and two workers: nothing of them may show.
        training = started(params, split, init_seed=before, epochs=3, workers=2 if before == 5 else 0, **settings)
        with pytest.raises(StoppedError, match=r"^stopped by SIGTERM after .*, and saved$") as stop:
            stopped_in(steps, SIGTERM, training, checkpoints)
        assert stop.value.exit_code == 143
    training = started(params, split, init_seed=9, epochs=3, **settings)
    train(training, checkpoints)
    assert capsys.readouterr().out.count("resuming after epoch") == len(stops)
    for name, tensor in training.learner.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert (training.history.epochs, training.history.lr) == (history.epochs, history.lr)
