"""Write the network as an ONNX model, node by node, without an exporter, so the bytes depend on its content alone."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from cifar10.core import SIDE
from cifar10.core.data import Statistics
from cifar10.network.folding import folded
from cifar10.network.model import Net

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12: every newer runtime reads the file


def onnx_bytes(network: Net, classes: Sequence[str], statistics: Statistics, dataset: str) -> bytes:
    """Return an ONNX file that maps uint8 `images` (N, 32, 32, 3), RGB, to float32 `probabilities` (N, 10), any N.

    Normalisation and softmax are inside, and BatchNorm is folded into the convolutions. The metadata hold classes,
    mean, std and dataset, each as JSON.
    """
    graph = _Graph()
    # The normalisation cannot be folded into conv1, because its padding is zeros in normalised pixels.
    mean, std = (255 * np.array(values, np.float32).reshape(1, 3, 1, 1) for values in statistics)
    x = graph.add("Transpose", "images", perm=[0, 3, 1, 2])  # before the cast: floats have four times the bytes
    x = graph.add("Cast", x, to=TensorProto.FLOAT)
    x = graph.add("Sub", x, graph.constant("mean", mean))
    x = graph.add("Div", x, graph.constant("std", std))
    x = _chain(graph, x, folded(network))
    x = graph.add("Flatten", x, axis=1)
    graph.add("Softmax", x, output="probabilities", axis=1)

    body = helper.make_graph(
        graph.nodes,
        "cifar10",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(classes)])],
        graph.constants,
    )
    model = helper.make_model(
        body, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="cifar10"
    )
    about = {"classes": list(classes), "dataset": dataset} | statistics._asdict()
    helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Collect nodes in the order of execution, each with one output, and the constants that they read."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: NDArray[np.float32]) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node; return the name of its output."""
        output = output or f"{len(self.nodes)}_{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x: str, name: str, conv: nn.Conv2d, padding: Sequence[int]) -> str:
        """Append `conv`, padded by `padding` (left, right, top, bottom); return the name of its output."""
        left, right, top, bottom = padding
        tensors = {"weight": conv.weight, "bias": conv.bias}
        names = [self.constant(f"{name}.{key}", _array(t)) for key, t in tensors.items() if t is not None]
        return self.add(
            "Conv",
            x,
            *names,
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            dilations=list(conv.dilation),
            group=conv.groups,
            pads=[top, left, bottom, right],
        )


def _chain(graph: _Graph, x: str, network: Net) -> str:
    """Append the layers of `network`, which are applied in the order in which they are registered."""
    padding: Sequence[int] | None = None
    for name, module in network.named_modules():
        match module:
            case nn.ZeroPad2d():
                padding = module.padding
            case nn.Conv2d():  # The padding becomes the convolution's own, because ONNX has a number for each side.
                x = graph.conv(x, name.removeprefix("features."), module, padding or _sides(module))
                padding = None
            case nn.ReLU():
                x = graph.add("Relu", x)
            case nn.AvgPool2d():  # over the whole map
                x = graph.add("GlobalAveragePool", x)
            case Net() | nn.Sequential() | nn.Dropout():  # The first two hold layers. Dropout does nothing in use.
                pass
            case _:
                raise TypeError(f"{name}: {type(module).__name__} has no case here")
    return x


def _sides(conv: nn.Conv2d) -> Sequence[int]:
    """Return a convolution's padding on the left, right, top and bottom."""
    assert isinstance(conv.padding, tuple)
    vertical, horizontal = conv.padding
    return [horizontal, horizontal, vertical, vertical]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().contiguous().numpy()
