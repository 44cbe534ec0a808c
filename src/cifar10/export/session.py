"""Run an exported network with ONNX Runtime, without PyTorch, whose import takes seconds."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cifar10.core import SIDE

CARD = {"recipe": str, "seed": int, "accuracy": float}  # what others print of a model card
BATCH_SIZE = 64  # the maps of a batch fit into a core's cache; larger is not faster


class ExportedModel(NamedTuple):
    session: onnxruntime.InferenceSession
    classes: list[str]
    dataset: str
    card: dict[str, Any]  # of the released network: what its model card says, see tools/card.py


def load_exported(model: Path | bytes) -> ExportedModel:
    """Load a file from `onnx_bytes`, or its content. Raise ValueError for another file, OSError if it cannot be read.

    One thread reached 2,700 images/s on an AVX2 core. Two threads on busy cores would wait for each other.
    """
    data = model if isinstance(model, bytes) else model.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        reason = str(error).splitlines()[0].rpartition(" : ")[2].rstrip(".")
        raise ValueError(f"not an ONNX file that can be run: {reason}") from None
    about = session.get_modelmeta().custom_metadata_map
    if not {"classes", "dataset"} <= about.keys():
        raise ValueError("an ONNX file of something else: its metadata name no classes and no dataset")
    try:
        classes, dataset, card = (json.loads(about.get(key, "{}")) for key in ("classes", "dataset", "card"))
        sound = isinstance(dataset, str) and isinstance(classes, list) and {*map(type, classes)} <= {str}
        if card:
            sound &= all(isinstance(card[key], kind) for key, kind in CARD.items()) and 0 <= card["accuracy"] <= 1
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ValueError("an ONNX file with broken metadata: classes, dataset or card")
    ends = [(each.name, each.type, each.shape[1:]) for each in (*session.get_inputs(), *session.get_outputs())]
    expected = [("images", "tensor(uint8)", [SIDE, SIDE, 3]), ("probabilities", "tensor(float)", [len(classes)])]
    if ends != expected:
        raise ValueError(f"a network whose input and output are {ends}, not {expected}")
    return ExportedModel(session, classes, dataset, card)


def probabilities(model: ExportedModel, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Map uint8 images (N, 32, 32, 3), RGB, 0...255, to class probabilities (N, 10)."""
    batches = (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))
    found = (model.session.run(None, {"images": batch})[0] for batch in batches)
    return np.concatenate([np.empty((0, len(model.classes)), np.float32), *found])
