"""Put a network into report.html, so that a browser classifies pictures without a server or an installation."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from onnx import numpy_helper

FILE = Path("models/model.onnx")
AROUND = {"Transpose", "Cast", "Sub", "Div", "Flatten", "Softmax"}  # what tryit.js does before and after the layers


class TryIt(NamedTuple):
    network: str  # JSON: classes, mean, std, layers
    weights: str  # base64 of float32, as the layers name their places
    script: str
    digest: str  # of the script, for the page's content security policy


def try_it(md5: str | None) -> TryIt | None:
    """Return what the page needs, or None if models/model.onnx is not the one with this md5, or has other layers."""
    if not FILE.exists() or hashlib.md5(data := FILE.read_bytes()).hexdigest() != md5:
        return None
    try:
        network, weights = _layers(onnx.load_from_string(data))
    except LookupError:
        return None
    script = Path(__file__).with_name("tryit.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = json.dumps(network).replace("<", "\\u003c")
    return TryIt(text, base64.b64encode(weights).decode(), script, digest)


def _layers(model: onnx.ModelProto) -> tuple[dict[str, Any], bytes]:
    """Return the chain of `model` as the script reads it, and all its weights."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    layers, weights = list[dict[str, Any]](), bytearray()
    for node in model.graph.node:
        if node.op_type in AROUND:
            continue
        layer: dict[str, Any] = {"kind": node.op_type}
        if node.op_type == "Conv":
            layer |= {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            layer["shape"] = list(tensors[node.input[1]].shape)
            for key, name in zip(("weight", "bias"), node.input[1:], strict=False):
                layer[key] = len(weights) // 4
                weights += tensors[name].astype("<f4").tobytes()
        elif node.op_type not in ("Relu", "GlobalAveragePool"):
            raise LookupError(f"{node.op_type} has no case in tools/tryit.js")
        layers.append(layer)
    return {"layers": layers} | {key: about[key] for key in ("classes", "mean", "std")}, bytes(weights)
