"""The ONNX file computes what the network does, holds what it says, and has the same bytes wherever it is made."""

import json

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from cifar10.complexity import multiply_adds
from cifar10.core.data import Statistics
from cifar10.core.params import Execution
from cifar10.export.graph import onnx_bytes
from cifar10.export.parity import torch_probabilities
from cifar10.export.session import BATCH_SIZE, load_exported, probabilities
from cifar10.network.model import Net
from tests.test_model import randomised

CLASSES = [f"class {i}" for i in range(10)]
STATISTICS = Statistics([0.2, 0.5, 0.7], [0.2, 0.3, 1 / 3])


def net(execution: Execution = "lattice") -> Net:
    """Random weights, such that the probabilities of different images differ, and none is 0 or 1."""
    torch.manual_seed(1)
    network = Net(execution, dropout=0.1, classes=10)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return randomised(network).float()


def exported(network: Net) -> bytes:
    return onnx_bytes(network, CLASSES, STATISTICS, "digits")


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (2 * BATCH_SIZE + 3, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("execution", ["lattice", "dense"])
def test_it_is_the_same_function(execution: Execution, images: NDArray[np.uint8]) -> None:
    """As the readable form computes it, in 64 bits, BatchNorm not folded."""
    found = probabilities(load_exported(exported(net(execution))), images)
    mean, std = (np.array(values).reshape(3, 1, 1) for values in STATISTICS)
    normalised = (images.transpose(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        expected = net("dense").double()(torch.from_numpy(normalised)).softmax(1).numpy()
    assert expected.max() < 0.99  # the comparison below is of something
    assert expected.std(0).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_layer_of_another_kind_is_named() -> None:
    network = net()
    network.features[0].add_module("gelu", nn.GELU())
    with pytest.raises(TypeError, match=r"^features\.conv1\.gelu: GELU has no case here$"):
        exported(network)


def test_any_number_of_images(images: NDArray[np.uint8]) -> None:
    model = load_exported(exported(net()))
    everything = probabilities(model, images)
    alone = [probabilities(model, image[None]) for image in images[:3]]
    np.testing.assert_allclose(np.concatenate(alone), everything[:3], atol=1e-6)
    assert probabilities(model, images[:0]).shape == (0, 10)
    np.testing.assert_allclose(everything.sum(1), 1, atol=1e-5)


def test_the_metadata_say_what_it_is() -> None:
    model = onnx.load_from_string(exported(net()))
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert about == {"classes": CLASSES, "dataset": "digits", "mean": STATISTICS.mean, "std": STATISTICS.std}
    loaded = load_exported(model.SerializeToString())
    assert (loaded.classes, loaded.dataset) == (CLASSES, "digits")
    options = loaded.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level) == (1, 1, 4)


def test_it_is_folded_and_in_lattice_form() -> None:
    """Multiply-adds counted in the file are those of the lattice; BatchNorm, padding and dropout are no nodes."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(exported(net())))
    assert {node.op_type for node in model.graph.node} == {
        *("Transpose", "Cast", "Sub", "Div", "Conv", "Relu", "GlobalAveragePool", "Flatten", "Softmax")
    }
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    counted = sum(
        weights[node.input[1]].size * shapes[node.output[0]][2].dim_value * shapes[node.output[0]][3].dim_value
        for node in model.graph.node
        if node.op_type == "Conv"
    )
    assert counted == multiply_adds(Net("lattice", 0.0, classes=10))


def test_the_same_network_gives_the_same_bytes() -> None:
    """tests/test_stages.py compares with those of another process in another folder."""
    assert exported(net()) == exported(net())


def test_the_reference_for_parity(images: NDArray[np.uint8]) -> None:
    mean, std = (np.array(values).reshape(3, 1, 1) for values in STATISTICS)
    normalised = torch.from_numpy((images.transpose(0, 3, 1, 2) / 255 - mean) / std)
    with torch.no_grad():
        expected = net().double()(normalised).softmax(1).numpy()
    np.testing.assert_allclose(torch_probabilities(net(), images, STATISTICS), expected, atol=1e-5)


def other_model(kind: int = TensorProto.UINT8, side: int = 32, metadata: bool = True) -> bytes:
    """A file that gives zeros for images of this type and size."""
    axes = numpy_helper.from_array(np.array([1, 2, 3]), "axes")
    cast = helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT)
    total = helper.make_node("ReduceSum", ["floats", "axes"], ["probabilities"], keepdims=0)
    images = helper.make_tensor_value_info("images", kind, ["N", side, side, 3])
    found = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph([cast, total], "other", [images], [found], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata:
        helper.set_model_props(model, {"classes": "[]", "dataset": '"x"'})
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"not an ONNX file that can be run: \w"),
        (b"hello", r"not an ONNX file that can be run: \w"),
        (exported(net())[:100_000], r"not an ONNX file that can be run: \w"),
        (other_model(metadata=False), "its metadata name no classes"),
        (other_model(side=224), "224, 224, 3"),
        (other_model(TensorProto.FLOAT), "tensor.float"),
        (other_model(), "input and output are"),
    ],
    ids=["empty", "text", "truncated", "no metadata", "another size", "another type", "another output"],
)
def test_another_file_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        load_exported(data)
    assert "\n" not in str(error.value)
