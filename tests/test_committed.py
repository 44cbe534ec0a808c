"""What must hold of the commit, whatever the workspace holds: params.yaml, dvc.lock and the results belong together."""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from ruamel.yaml import YAML
from safetensors import safe_open

from cifar10.core.params_file import parse_params
from cifar10.export.session import load_exported, probabilities
from cifar10.machine.runtime import Runtime
from cifar10.network.model_file import load_model
from cifar10.predict import predict
from tests.clone import committed, git
from tools.card import card
from tools.recipe import recipes
from tools.records import load_params
from tools.show import described

yaml = YAML(typ="safe", pure=True)  # YAML 1.2, as DVC writes it: 1e-05 is a number
LOCK: dict[str, Any] = yaml.load(committed("dvc.lock"))["stages"]
FILES = set(git("ls-tree", "-r", "--name-only", "HEAD").splitlines())


@pytest.mark.parametrize("stage", LOCK)
def test_the_lock_belongs_to_the_parameters(stage: str) -> None:
    values = parse_params(committed("params.yaml")).model_dump()
    recorded = LOCK[stage].get("params", {}).get("params.yaml", {})
    assert recorded == {key: values[key] for key in recorded}
    declared = yaml.load(committed("dvc.yaml"))["stages"][stage].get("params", [])
    assert set(recorded) == set(declared)


@pytest.mark.parametrize("stage", LOCK)
def test_the_lock_belongs_to_the_files(stage: str) -> None:
    entries = LOCK[stage].get("deps", []) + LOCK[stage]["outs"]
    for entry in entries:
        path = entry["path"]
        # Hidden files do not count for DVC, and pictures/*.dvc stand for pictures that git does not have.
        inside = [name for name in FILES if name.startswith(f"{path}/") and not re.search(r"/\.|\.dvc$", name)]
        if path in FILES or inside:
            digest = of_folder(path, inside) if inside else md5(path)
            assert entry["md5"] == digest, f"{path} has changed since {stage} ran; run: dvc repro"
    assert {entry["path"] for entry in entries} & FILES
    assert any(entry["md5"].endswith(".dir") for entry in entries)


@cache
def md5(path: str) -> str:
    return hashlib.md5(committed(path)).hexdigest()


def of_folder(path: str, files: list[str]) -> str:
    """As DVC has it: of a list of the files' digests and names."""
    listed = [{"md5": md5(name), "relpath": name.removeprefix(f"{path}/")} for name in sorted(files)]
    return hashlib.md5(json.dumps(listed).encode()).hexdigest() + ".dir"


def test_the_metrics_belong_to_the_predictions() -> None:
    test = json.loads(committed("metrics/test.json"))
    assert test["dataset"] == parse_params(committed("params.yaml")).dataset
    predictions = committed("plots/predictions.csv").decode().splitlines()[1:]
    right = [actual == predicted for actual, predicted in (line.split(",")[:2] for line in predictions)]
    assert test["accuracy"] == pytest.approx(sum(right) / len(right))


def test_the_release_is_one_network_and_its_card_says_what_its_files_say(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    for name in ("cifar10.safetensors", "cifar10.onnx"):
        (tmp_path / name).write_bytes(committed(f"release/{name}"))
    network, classes, statistics = load_model(tmp_path / "cifar10.safetensors")
    model = load_exported(tmp_path / "cifar10.onnx")
    logits = predict(network, images, statistics, Runtime(torch.device("cpu"), "fp32", 1)).plain
    assert np.allclose(logits.softmax(1).numpy(), probabilities(model, images), atol=1e-4)
    with safe_open(tmp_path / "cifar10.safetensors", "pt") as file:
        about = json.loads(file.metadata()["cifar10"])
    assert classes == model.classes == model.card["classes"]
    assert about["card"] == model.card
    assert committed("release/README.md").decode() == card(model.card)
    confusion = np.array(model.card["confusion"])
    assert confusion.trace() / confusion.sum() == model.card["accuracy"]
    assert model.card["accuracy_low"] < model.card["accuracy"] < model.card["accuracy_high"]
    assert re.fullmatch(r"[0-9a-f]{40}", model.card["commit"])
    assert model.card["seed"] == about["params"]["seed"]


def test_the_released_network_of_the_committed_parameters_is_the_committed_one(tmp_path: Path) -> None:
    """make release; its accuracy is the one that evaluate reports, but for the images that the two see differently."""
    (tmp_path / "cifar10.onnx").write_bytes(committed("release/cifar10.onnx"))
    released, path = load_exported(tmp_path / "cifar10.onnx").card, "models/model.onnx"
    test, export, run = (json.loads(committed(f"metrics/{name}.json")) for name in ("test", "export", "run"))
    if released["recipe"] != described(load_params(committed("params.yaml")), recipes()):
        pytest.skip("the release is of another recipe")
    assert all(released[key] == test[key] for key in ("accuracy", "calibration_error"))
    onnx_file = onnx.load(tmp_path / "cifar10.onnx")
    del onnx_file.metadata_props[[entry.key for entry in onnx_file.metadata_props].index("card")]
    data = onnx_file.SerializeToString(deterministic=True)
    (expected,) = (out["md5"] for out in LOCK["export"]["outs"] if out["path"] == path)
    assert hashlib.md5(data).hexdigest() == expected
    assert export["bytes"] == len(data)
    assert export["equal_top1"] > 0.999
    rounding = 0.0 if run["precision"] in ("fp32", "portable") else 0.002  # evaluate in bf16, export in fp32
    assert export["onnx_accuracy"] == pytest.approx(test["accuracy"], abs=1 - export["equal_top1"] + rounding + 1e-9)
