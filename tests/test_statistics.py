import numpy as np
import pytest

from cifar10.channel_statistics import channel_statistics


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_equals_numpy_on_the_whole_set(chunk: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    images[..., 1] //= 2  # channels that differ
    statistics = channel_statistics(images, chunk)
    assert statistics.mean == pytest.approx((images / 255).mean((0, 1, 2)).tolist(), abs=1e-11)
    assert statistics.std == pytest.approx((images / 255).std((0, 1, 2)).tolist(), abs=1e-11)
    assert statistics == channel_statistics(images, 50)  # to the last bit, whatever the chunk
    images[..., 2] = 77  # as in pictures of one colour, which must not be divided by 0
    assert channel_statistics(images, chunk).std[2] == 1
