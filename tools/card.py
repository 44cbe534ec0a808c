"""Write the model card of the released network, and put its facts into both of the network's files."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import onnx
from safetensors.torch import load, save

from cifar10.network.model_file import model_digest
from tools.results import Results

CARD = """\
# The released network

`make release` writes this page, and the same facts into the metadata of both files.

`cifar10.onnx` is for [ONNX Runtime](../docs/model.md#as-an-onnx-file) and `cifar10 classify`. It maps pictures of 32x32
pixels to the probabilities of ten classes: {classes}.
`cifar10.safetensors` has the same network's weights, for [PyTorch](../docs/model.md#in-python). The licence is
[MIT](../LICENSE).

| what | value |
|---|---|
| network | {parameters:,} parameters, {multiply_adds:,} multiply-adds an image |
| recipe | {recipe}, {epochs} epochs, seed {seed}, {precision} |
| code | commit {commit} |
| data | CIFAR-10, {training_images:,} training images |
| **test accuracy, one view** | **{accuracy:.2%}** of {test_images:,} images |
| its 95 % interval | {accuracy_low:.2%} to {accuracy_high:.2%} |
| test accuracy of the recipe by seed | {seeds} |
| calibration error | {calibration_error:.3f}: how far its probabilities are from its accuracy |

## What it confuses

| class | found, of its test images | most often taken for |
|---|---|---|
{rows}

## What to know before you use it

- **Every picture gets one of the ten classes**, also if it shows none of them, with a probability that may be high.
- It sees 32x32 pixels. Details of a larger picture are lost, and so is what lies outside its centre square.
- It was tested on the pictures of CIFAR-10 alone, small photographs of one object each, from the web, before 2009.
  Drawings, other cameras, several objects and pictures that were changed to mislead it were not tested.
- About 3 % of the test images have a near copy among the training images
  ([Barz and Denzler, 2020](https://arxiv.org/abs/1902.00423)), so on new pictures the accuracy is lower.
- Do not use it if a wrong answer can harm anybody. It is an example for teaching and a start for further training.
"""


def facts(results: Results, commit: str, recipe: str, seeds: Mapping[int, float]) -> dict[str, Any]:
    """Return what the card says of a run. `recipe` names its parameters, `seeds` gives test accuracy by seed."""
    metrics, params, confusion = results.metrics, results.params, results.confusion
    classes = metrics["dataset"]["classes"]
    found = {"classes": classes, "commit": commit, "recipe": recipe, "epochs": params["epochs"], "seed": params["seed"]}
    found |= {key: metrics["train"][key] for key in ("parameters", "multiply_adds")}
    found |= {key: metrics["run"][key] for key in ("precision", "processor", "instruction_set")}
    found["training_images"] = metrics["dataset"]["images"] - params["validation_size"]
    found["test_images"] = len(results.plots["predictions"])
    found |= {key: metrics["test"][key] for key in ("accuracy", "accuracy_low", "accuracy_high", "calibration_error")}
    found["seeds"] = {str(seed): accuracy for seed, accuracy in sorted(seeds.items())}
    found["confusion"] = [[confusion[actual, predicted] for predicted in classes] for actual in classes]
    return found


def card(known: Mapping[str, Any]) -> str:
    """Return the model card with these facts."""
    classes, rows = known["classes"], []
    for name, counts in zip(classes, known["confusion"], strict=True):
        others = Counter(dict(zip(classes, counts, strict=True)))
        right, total = others.pop(name), sum(counts)
        often = ", ".join(f"{other} {count / total:.1%}" for other, count in others.most_common(2) if count)
        rows.append(f"| {name} | {right / total:.1%} | {often} |")
    seeds = ", ".join(f"{accuracy:.2%} ({seed})" for seed, accuracy in known["seeds"].items())
    machine = f"{known['precision']} on {known['processor']} ({known['instruction_set']})"
    text = {"classes": ", ".join(classes), "rows": "\n".join(rows), "seeds": seeds, "precision": machine}
    return CARD.format_map({**known, **text}).replace("%", " %").replace("  %", " %")


def with_facts_onnx(data: bytes, known: Mapping[str, Any]) -> bytes:
    """Return the bytes of an ONNX file with `known` in its metadata."""
    model = onnx.load_from_string(data)
    entry = model.metadata_props.add()
    entry.key, entry.value = "card", json.dumps(known)
    return bytes(model.SerializeToString(deterministic=True))


def with_facts_safetensors(data: bytes, known: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file from `save_model` with `known` in its metadata, also under its sha256."""
    size = int.from_bytes(data[:8], "little")  # of the header, which safetensors reads from files alone
    about = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["cifar10"])
    del about["sha256"]
    weights, about = load(data), about | {"card": known}
    return save(weights, {"cifar10": json.dumps(about | {"sha256": model_digest(weights, about)})})
