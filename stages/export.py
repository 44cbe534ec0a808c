"""Export the model to models/model.onnx; write whether both compute the same on data/test to metrics/export.json."""

from pathlib import Path

import numpy as np

from cifar10.core.files import write_atomically
from cifar10.core.params import Params
from cifar10.export.graph import onnx_bytes
from cifar10.export.parity import torch_probabilities
from cifar10.export.session import load_exported, probabilities
from cifar10.network.model_file import load_model
from stages.support.formats import explained, read_split, write_json
from stages.support.start import run_stage


def export(params: Params) -> None:
    with explained("models/model.safetensors"):
        network, classes, statistics = load_model("models/model.safetensors")
    data = onnx_bytes(network, classes, statistics, params.dataset)
    write_atomically(Path("models/model.onnx"), data)

    images, labels = read_split("data/test")
    found = probabilities(load_exported(data), images)
    expected = torch_probabilities(network, images, statistics)
    compared = {
        "onnx_accuracy": float((found.argmax(1) == labels).mean()),
        "equal_top1": float((found.argmax(1) == expected.argmax(1)).mean()),
        "largest_difference": float(np.abs(found - expected).max()),
        "bytes": len(data),
    }
    write_json("metrics/export.json", compared)


if __name__ == "__main__":
    run_stage(export)
