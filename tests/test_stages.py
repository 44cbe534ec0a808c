"""The stages in this process, on a few digits: each writes exactly what dvc.yaml declares, with the right numbers."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from sklearn.metrics import f1_score

from cifar10.complexity import size
from cifar10.core.data import Split
from cifar10.core.params import EVALUATION, MACHINE
from cifar10.core.params_file import parse_params
from cifar10.export.session import load_exported, probabilities
from cifar10.network.model import Net
from cifar10.network.model_file import load_model
from cifar10.predict import wilson
from cifar10.sources.datasets import read_digits
from stages.support.formats import declared_stages, read_split, write_split
from stages.support.start import run_stage
from tests.clone import Clone
from tests.stage_functions import STAGES, refused


@pytest.fixture(autouse=True)
def _in_the_clone(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.path)


def read(path: str) -> Any:
    """JSON as it is; of a CSV file, the columns by name."""
    text = Path(path).read_text(encoding="utf-8")
    if path.endswith(".json"):
        return json.loads(text)
    header, *rows = csv.reader(text.splitlines())
    return {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}


def files() -> set[str]:
    paths = (str(path) for path in Path().rglob("*") if path.is_file())
    return {path for path in paths if not path.startswith((".git/", ".dvc/tmp/"))}


def test_each_stage_writes_what_is_declared(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    by_dvc = clone.outputs()
    for name, declared in declared_stages().items():
        entries = [*declared.get("outs", []), *declared.get("metrics", []), *declared.get("plots", [])]
        outs = {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}
        for path in map(Path, outs):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        before = files()
        run_stage(STAGES[name])
        written = files() - before
        assert {next((out for out in outs if path.startswith(out)), path) for path in written} == outs
        if name == "train":  # nothing of another network is left beside its curves
            assert not {"metrics/test.json", "plots/predictions.csv", "plots/mistakes.png"} & files()

    assert clone.outputs() == by_dvc  # which other processes wrote in another folder

    digits, params = read_digits(), parse_params(Path("params.yaml").read_bytes())
    for folder, split in (("data/train", digits.train), ("data/test", digits.test)):
        assert all(np.array_equal(found, array) for found, array in zip(read_split(folder), split, strict=True))
    facts = read("metrics/dataset.json")
    assert (facts["images"], facts["classes"], read("data/classes.json")) == (1437, digits.classes, digits.classes)
    assert facts["counts"] == np.bincount(digits.train.labels).tolist()
    assert facts["mean"] == pytest.approx((digits.train.images / 255).mean((0, 1, 2)))
    assert facts["std"] == pytest.approx((digits.train.images / 255).std((0, 1, 2)))

    train, loss, accuracy = read("metrics/train.json"), read("plots/loss.csv"), read("plots/accuracy.csv")
    assert (loss["epoch"], loss["split"]) == (["1", "2"] * 2, ["train"] * 2 + ["validation"] * 2)
    for name, curve in (("loss", loss), ("accuracy", accuracy)):
        last = [train[f"train_{name}"], train[f"validation_{name}"]]
        assert [float(curve[name][i]) for i in (1, 3)] == pytest.approx(last, rel=1e-5)
    assert train["train_loss"] < np.log(10)  # a uniform guess
    assert train["validation_accuracy"] > 0.3  # chance: 0.10
    assert train.items() >= size(Net(params.execution, 0.0, classes=10)).items()
    rates = read("plots/lr.csv")
    assert rates["step"] == [str(step) for step in range(28) for _ in range(2)]  # both optimizers
    run = read("metrics/run.json")
    assert 0 <= run["waiting_for_data"] <= run["seconds"]
    with safe_open("models/model.safetensors", "np") as file:
        about = json.loads(file.metadata()["cifar10"])
    assert about["params"] == params.model_dump(exclude=EVALUATION | MACHINE | {"augment_with", "pretrained"})
    assert [about[key] for key in ("classes", "mean", "std")] == [facts[key] for key in ("classes", "mean", "std")]

    images, labels = digits.test
    found = probabilities(load_exported(Path("models/model.onnx")), images)
    predicted, confidence = found.argmax(1), found.max(1)
    test, export = read("metrics/test.json"), read("metrics/export.json")
    assert test["dataset"] == "digits"
    assert test["accuracy"] == export["onnx_accuracy"] == pytest.approx((predicted == labels).mean())
    assert test["loss"] == pytest.approx(-np.log(found[np.arange(len(labels)), labels]).mean(), rel=1e-4)
    assert test["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
    scores = read("plots/per_class.csv")
    assert scores["class"] == digits.classes
    assert list(map(float, scores["f1"])) == pytest.approx(
        f1_score(labels, predicted, average=None, zero_division=0), 1e-5
    )
    rows = read("plots/predictions.csv")
    names = np.array(digits.classes)
    assert (rows["actual"], rows["predicted"]) == (names[labels].tolist(), names[predicted].tolist())
    assert list(map(float, rows["confidence"])) == pytest.approx(confidence, abs=1e-4)
    assert all(len(value) == 8 for value in rows["confidence"])
    bins = {name: np.array(column, float) for name, column in read("plots/reliability.csv").items()}
    gaps = bins["images"] * np.abs(bins["accuracy"] - bins["confidence"])
    assert test["calibration_error"] == pytest.approx(gaps.sum() / len(labels), abs=1e-4)
    assert export["equal_top1"] == 1
    assert 0 < export["largest_difference"] < 1e-4
    assert export["bytes"] == Path("models/model.onnx").stat().st_size

    clone.set_params(tta="none")
    run_stage(STAGES["evaluate"])
    assert read("metrics/test.json") | {"tta_accuracy": test["tta_accuracy"]} == test


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "359 predictions for 360 images"),
        (lambda lines: [*lines[:-1], "one,eleven,0.5"], "'eleven' is not in list"),
        (lambda lines: [*lines[:-1], "one,two"], "float"),
        (lambda lines: [line.rpartition(",")[0] for line in lines], "no column confidence"),
    ],
)
def test_predictions_that_are_not_of_these_images_are_one_line(
    capsys: pytest.CaptureFixture[str], change: Callable[[list[str]], list[str]], said: str
) -> None:
    path = Path("plots/predictions.csv")
    path.write_text("\n".join(change(path.read_text(encoding="utf-8").splitlines())) + "\n", encoding="utf-8")
    (line,) = refused(STAGES["draw"], capsys).splitlines()
    assert line.startswith("error: plots/predictions.csv: cannot be read: ")
    assert said in line


@pytest.mark.parametrize("size", [100, 900])
def test_a_class_that_would_miss_in_one_part_is_named(
    clone: Clone, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    labels = np.repeat(np.arange(2, dtype=np.uint8), [1000, 3])
    write_split("data/train", Split(np.zeros((1003, 32, 32, 3), np.uint8), labels))
    Path("data/classes.json").write_text('["dog", "cat"]', encoding="utf-8")
    clone.set_params(validation_size=size)
    run_stage(STAGES["compute_stats"])
    said = "leaves the class cat no image in one of the two parts; try another size, or 0"
    assert refused(STAGES["train"], capsys, 2) == f"error: params.yaml: validation_size: {said} (got {size})\n"


def test_batches_too_large_for_the_memory_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on_a_gpu(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    for fail in (lambda *_: torch.empty(2**60), lambda *_: np.empty(2**50), on_a_gpu):
        monkeypatch.setattr("stages.train.train", fail)
        said = "there is too little memory for batches of 32 images; try smaller ones"
        assert refused(STAGES["train"], capsys) == f"error: train: {said}: dvc exp run --set-param batch_size=16\n"


def test_pictures_of_classes_with_unusual_names(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    """All stages: names that are no mathematics, that the font lacks, that are long."""
    names = ["$x$", '<b>&amp;, "a"', "a name of far more letters than a plot has space for", "犬"]
    random = np.random.default_rng(0)
    for number, name in enumerate(names):
        for i in range(20):
            path = Path("pictures", ("train", "test")[i % 4 == 0], name, f"{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = np.full((40, 32, 3), 60 * number, np.uint8) + random.integers(0, 9, (40, 32, 3), np.uint8)
            Image.fromarray(colour).save(path)
    values = {"dataset": "pictures", "validation_size": 8, "batch_size": 8, "epochs": 1, "pretrained": True, "lr": 1e-6}
    clone.set_params(**values)
    for stage in STAGES.values():
        run_stage(stage)
    assert read("data/classes.json") == read("metrics/dataset.json")["classes"] == sorted(names)
    assert read("metrics/dataset.json")["counts"] == [15] * 4
    assert set(read("plots/predictions.csv")["actual"]) == set(names)
    assert load_exported(Path("models/model.onnx")).classes == sorted(names)
    # With a rate of nearly 0, SGD's weights are still those of the released network; Muon's are scaled.
    released, trained = (load_model(f"{file}.safetensors").network for file in ("release/cifar10", "models/model"))
    for name in ("features.conv8.depthwise.weight", "features.conv9.bn.weight"):
        assert torch.allclose(trained.get_parameter(name), released.get_parameter(name), atol=1e-3)
    assert trained.head.weight.shape[0] == 4
    low, accuracy, high = (read("metrics/test.json")[f"accuracy{end}"] for end in ("_low", "", "_high"))
    assert (low, high) == pytest.approx(wilson(accuracy, 20))
    clone.set_params(batch_size=53)
    refused(STAGES["train"], capsys, 2)
    clone.set_params(batch_size=8)
    Path("data/start.safetensors").write_bytes(b"damaged")
    assert "; repair it with: git restore release; chmod -R " in refused(STAGES["train"], capsys)
    Path("release/cifar10.safetensors").unlink()
    said = "release/cifar10.safetensors: cannot be read: No such file or directory; repair it with: git restore "
    assert said in refused(STAGES["download"], capsys)
