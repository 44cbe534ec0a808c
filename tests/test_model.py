from typing import get_args

import pytest
import torch
from torch import nn

from cifar10.complexity import count_parameters, layer_sizes, multiply_adds, multiply_adds_by_layer, receptive_field
from cifar10.core.params import Execution
from cifar10.network.folding import folded
from cifar10.network.model import LAYERS, Net


def randomised(net: Net) -> Net:
    """BatchNorm with statistics, scale and shift that hide nothing: fresh ones are all 0 and 1."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net.double().eval()


def test_counts() -> None:
    # By hand, from the table: 3x3 weights, depthwise and pointwise weights, head, two numbers per BatchNorm channel.
    dense_weights = 9 * (
        3 * 16 + 16 * 32 + 32 * 64 + 64 * 32 + 32 * 64 + 64 * 128 + 128 * 16 + 16 * 32 + 32 * 64 + 64 * 16
    )
    separable_weights = 16 * 9 + 16 * 32 + 32 * 9 + 32 * 64
    batch_norm = 2 * (16 + 32 + 64 + 64 + 128 + 32 + 64 + 32 + 64)
    expected = dense_weights + separable_weights + batch_norm + 64 * 10
    assert expected == 189_376
    for execution in ("dense", "lattice"):
        assert count_parameters(Net(execution, 0.0, classes=10)) == expected


def test_multiply_adds() -> None:
    # By hand: output side squared times weights, layer by layer, dense then lattice.
    weights = [9 * layer.inputs * layer.outputs for layer in LAYERS[:10]] + [16 * 9 + 16 * 32, 32 * 9 + 32 * 64]
    for execution, sides in (
        ("dense", (32, 32, 32, 16, 14, 12, 6, 6, 6, 3, 3, 3)),
        ("lattice", (32, 32, 16, 8, 7, 6, 6, 6, 3, 3, 3, 3)),
    ):
        expected = {
            layer.name: side**2 * weight for layer, side, weight in zip(LAYERS, sides, weights, strict=True)
        } | {"head": 64 * 10}
        network = Net(execution, 0.0, classes=10)  # type: ignore[arg-type]
        assert multiply_adds_by_layer(network) == expected
        assert multiply_adds(network) == sum(expected.values())
        assert network.training  # as it was


def test_the_table_of_layers() -> None:
    layers = layer_sizes(classes=10)
    # By hand: 2 * dilation * jump more in each layer; the jump is 1, 2, 4, 8 after 0, 1, 2, 3 transitions.
    assert [layer.receptive_field for layer in layers] == [3, 5, 7, 11, 19, 27, 35, 43, 51, 67, 83, 99, 115, 115]
    shapes = "16x32x32 32x32x32 64x32x32 32x16x16 64x14x14 128x12x12 16x6x6 32x6x6 64x6x6 16x3x3 32x3x3 64x3x3 64x1x1"
    assert [layer.output for layer in layers] == [*shapes.split(), "10x1x1"]
    dense, lattice = (Net(execution, 0.0, classes=10) for execution in get_args(Execution))
    assert sum(layer.parameters for layer in layers) == count_parameters(dense)
    assert {layer.name: layer.multiply_adds for layer in layers if layer.name != "average"} == multiply_adds_by_layer(
        dense
    )
    assert [layer.lattice for layer in layers if layer.parameters] == list(multiply_adds_by_layer(lattice).values())


def test_receptive_field_by_gradient() -> None:
    net = randomised(Net("dense", 0.0, classes=10))
    for module in net.modules():  # positive weights and no dead ReLU: no contribution cancels
        if isinstance(module, nn.Conv2d):
            module.weight.data.abs_()
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    image = torch.ones(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    logits = net.head(net.pool(net.features(image)))
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    rows, columns = (torch.nonzero(gradient[0].abs().sum((0, dim))).flatten() for dim in (2, 1))
    for reached in (rows, columns):
        assert int(reached.max() - reached.min()) + 1 == receptive_field(net) == 115
        assert reached.min() > 0
        assert reached.max() < 255


def test_lattice_equals_dense() -> None:
    dense, lattice = randomised(Net("dense", 0.0, classes=10)), Net("lattice", 0.0, classes=10).double().eval()
    lattice.load_state_dict(dense.state_dict())
    images = torch.randn(8, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    logits = dense(images)
    assert logits.std() > 0.1  # the comparison below is of something
    torch.testing.assert_close(lattice(images), logits, rtol=0, atol=1e-12)
    # ... and so are the gradients: no live position was dropped.
    gradients = [
        torch.autograd.grad(net(images).square().sum(), [images, *net.parameters()]) for net in (dense, lattice)
    ]
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("execution", ["dense", "lattice"])
def test_folded_is_the_same_function(execution: Execution) -> None:
    net = randomised(Net(execution, 0.5, classes=10))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    small = folded(net.train())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in small.modules())
    torch.testing.assert_close(small(images), net.eval()(images), rtol=0, atol=1e-12)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(N, 3, 32, 32\), got \(2, 32, 32, 3\)"):
        Net("dense", 0.0, classes=10)(torch.zeros(2, 32, 32, 3))


def test_dropout_follows_every_relu() -> None:
    net = Net("lattice", 0.25, classes=10)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.25] * 9
