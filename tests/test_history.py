import pytest
import torch

from cifar10.training.history import History, RunningMeans

TRAIN, VALIDATION = [0.9, 0.5, 0.7, 0.6], [0.8, 0.3, 0.2, 0.4]  # smallest and largest in the middle


def history(accuracies: list[float]) -> History:
    """Four epochs, whose losses are 2 minus the accuracies; without a validation split where those are empty."""
    rows = [{"train_loss": 2 - a, "train_accuracy": a} for a in TRAIN]
    for row, accuracy in zip(rows, accuracies, strict=False):
        row |= {"validation_loss": 2 + accuracy, "validation_accuracy": accuracy}
    return History(rows, seconds=[9.0, 9.0, 9.0, 12.34], images_per_second=[1.0, 1.0, 1.0, 23456.7])


@pytest.mark.parametrize(("steps", "kept"), [(1, 1), (28, 28), (399, 399), (400, 200 + 1), (12_320, 203)])
def test_the_rates_of_about_200_steps_are_kept(steps: int, kept: int) -> None:
    found = History()
    for number in range(steps):
        found.add_rates(number, steps, {"SGD": number / 10, "Muon": 1.0}.copy)
    assert len(found.lr) == 2 * kept
    assert found.lr[0] == (0, "SGD", 0.0)
    assert found.lr[-2:] == [(steps - 1, "SGD", (steps - 1) / 10), (steps - 1, "Muon", 1.0)]


def test_the_best_epoch_has_the_lowest_loss_or_the_highest_accuracy() -> None:
    found = history(VALIDATION)
    train = [(i + 1, "train", 2 - value, 0) for i, value in enumerate(TRAIN)]
    assert list(found.curve("loss")) == [*train, *((i + 1, "validation", 2 + VALIDATION[i], i == 2) for i in range(4))]
    validation = [(i + 1, "validation", value, i == 0) for i, value in enumerate(VALIDATION)]
    assert list(found.curve("accuracy")) == [*((i + 1, "train", TRAIN[i], 0) for i in range(4)), *validation]
    assert list(history([]).curve("loss")) == train


def test_the_last_epoch_in_one_line() -> None:
    found = history(VALIDATION)
    last = {"train_loss": 1.4, "train_accuracy": 0.6, "validation_loss": 2.4, "validation_accuracy": 0.4}
    assert found.epochs[-1] == last
    values = "train loss 1.4000, train accuracy 0.6000, validation loss 2.4000, validation accuracy 0.4000"
    assert found.line(35) == f"epoch  4/35: {values}, 23,457 images/s, 12.3 s, 5 min left"


def test_only_waiting_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, found = iter([0, 1, 17, 19, 51, 55, 119]), History()  # waits of 1, 2 and 4 seconds; steps of 16, 32 and 64
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    assert list(found.timed("abc")) == ["a", "b", "c"]
    assert found.waiting == 7


def test_an_image_counts_the_same_in_a_batch_of_any_size() -> None:
    """Two unequal batches, then the sums saved and continued."""
    means = RunningMeans(torch.device("cpu"))
    logits = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])
    means.add(torch.tensor(1.0), logits, torch.tensor([1, 0, 2, 2]))  # three of four right
    assert means.read() == (1.0, 0.75)
    resumed = RunningMeans(torch.device("cpu"), **vars(means))
    resumed.add(torch.tensor(2.5), logits[:1], torch.tensor([0]))
    assert resumed.read() == ((4 * 1.0 + 2.5) / 5, 3 / 5)
