import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from cifar10.core.data import Statistics
from cifar10.core.params import TestTimeAugmentation
from cifar10.evaluation.calibration import calibration_error, reliability
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.predict import predict, score, views, wilson


def test_score_by_hand() -> None:
    logits = torch.log(
        torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4], [0.1, 0.3, 0.6], [0.5, 0.3, 0.2]])
    )
    result = score(logits, np.array([0, 1, 1, 0, 2], np.uint8))  # right, right, two too high, one too low
    assert result.accuracy == 0.4
    assert result.loss == pytest.approx(-np.log([0.7, 0.6, 0.3, 0.1, 0.2]).mean())


@pytest.mark.parametrize(("right", "images"), [(9041, 10_000), (50, 60), (0, 7), (3, 3)])
def test_the_interval_is_wilsons(right: int, images: int) -> None:
    expected = binomtest(right, images).proportion_ci(method="wilson")
    low, high = wilson(right / images, images)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert 0 <= low <= right / images <= high <= 1


@pytest.mark.parametrize(("tta", "count"), [("none", 1), ("flip", 2), ("flip+shift", 6)])
def test_views(tta: TestTimeAugmentation, count: int) -> None:
    images = torch.randn(2, 3, 32, 32)
    weights, seen = zip(*views(images, tta), strict=True)
    assert weights == {1: (1,), 2: (1 / 2, 1 / 2), 6: (1 / 4, 1 / 4, *[1 / 8] * 4)}[count]
    assert torch.equal(seen[0], images)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    moved = [padded[:, :, y : y + 32, y : y + 32] for y in (1, 0, 2)]
    expected = [each for view in moved for each in (view, view[..., ::-1])][:count]
    assert all(np.array_equal(view, hand) for view, hand in zip(seen, expected, strict=True))


def test_mirrored_images_get_the_same_logits_when_both_views_count() -> None:
    torch.manual_seed(0)
    net, runtime = Net("lattice", 0.0, classes=10), Runtime(torch.device("cpu"), "fp32", 1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # or an untrained network says next to nothing
    net(torch.randn(50, 3, 32, 32))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    statistics = Statistics([0.5] * 3, [0.25] * 3)
    (single, one), (mirrored, other) = (
        predict(net, each, statistics, runtime, "flip") for each in (images, images[:, :, ::-1])
    )
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, single, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(one, (single + mirrored) / 2)


def test_calibration_error_by_hand() -> None:
    # Confidences 0.9, 0.9 (bin 14 of 15, one of two right) and 0.6 (bin 9, right).
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]))
    labels = np.array([0, 1, 1], np.uint8)
    assert calibration_error(logits, labels) == pytest.approx((2 * abs(0.5 - 0.9) + abs(1 - 0.6)) / 3, abs=1e-6)


def test_reliability_by_hand() -> None:
    # Confidences 0.9, 0.8 (one right, one wrong) and 0.6 (right); bins of a fifth.
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=torch.float64))
    rows = list(reliability(logits, np.array([0, 0, 0], np.uint8), bins=5))
    assert [row[2] for row in rows] == [1, 1, 1]
    assert [row[:2] for row in rows] == [pytest.approx(pair) for pair in ((0.6, 1), (0.8, 0), (0.9, 1))]
    lowest = torch.log(torch.tensor([[0.4, 0.3, 0.3], [0.6, 0.2, 0.2]], dtype=torch.float64))
    assert [row[2] for row in reliability(lowest, np.array([0, 0], np.uint8), bins=2)] == [1, 1]
