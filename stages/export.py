"""Export the model to models/model.onnx; write whether both compute the same on data/test to metrics/export.json."""

from pathlib import Path

from cifar10.core.files import write_atomically
from cifar10.core.params import Params
from cifar10.export.graph import onnx_bytes
from cifar10.export.parity import parity, torch_probabilities
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
    compared = parity(torch_probabilities(network, images, statistics), found)
    accuracy = float((found.argmax(1) == labels).mean())
    write_json("metrics/export.json", {"onnx_accuracy": accuracy} | compared._asdict() | {"bytes": len(data)})


if __name__ == "__main__":
    run_stage(export)
