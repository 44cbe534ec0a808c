"""Save and load a trained network: its weights, the class names, and the statistics that normalise its images."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cifar10.core.data import Statistics
from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from cifar10.core.params import Execution
from cifar10.network.model import Net


class TrainedModel(NamedTuple):
    network: Net  # normalised images (N, 3, 32, 32) to logits (N, 10); in evaluation mode, on the CPU
    classes: list[str]
    statistics: Statistics


def save_model(
    path: Path, network: Net, classes: Sequence[str], statistics: Statistics, params: Mapping[str, Any]
) -> None:
    """Write the weights, with the other arguments and the sha256 of everything as metadata."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    # One entry, because safetensors writes several entries in a random order.
    about = {"classes": classes, **statistics._asdict(), "params": params}
    about["sha256"] = model_digest(weights, about)
    write_atomically(path, save(weights, {"cifar10": json.dumps(about)}))


def load_model(path: str | Path, execution: Execution = "lattice") -> TrainedModel:
    """Read what `save_model` wrote. Raise ValueError if it is damaged, UserError if it is of another network."""
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # no mapping
            about = json.loads((file.metadata() or {}).get("cifar10", "{}"))
    except SafetensorError as error:
        raise ValueError(error) from None
    if about.pop("sha256", None) != model_digest(weights, about):
        raise ValueError("the model is damaged: its sha256 differs from the one in the file's metadata")
    network = Net(execution, dropout=0.0, classes=len(about["classes"]))
    try:
        network.load_state_dict(weights)
    except RuntimeError:  # PyTorch's error, of many lines, for other names or shapes
        other = "has other layers than src/cifar10/network/model.py"
        raise UserError(f"{path}: {other}; train again: dvc repro, or set pretrained: false") from None
    return TrainedModel(network.eval(), about["classes"], Statistics(about["mean"], about["std"]))


def load_features(path: str | Path, network: Net) -> None:
    """Give `network` the weights in a file that `save_model` wrote, except the head's, which is of other classes."""
    weights = load_model(path).network.state_dict()
    weights |= {name: tensor for name, tensor in network.state_dict().items() if name.startswith("head.")}
    network.load_state_dict(weights)


def model_digest(weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Return the sha256 of `about` and of the tensors' names, types, shapes and bytes, whatever the file's layout."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode() + b"\n")
    for name, tensor in sorted(weights.items()):
        array = tensor.cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()
