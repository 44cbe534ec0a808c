"""make release: only a network that belongs to its parameters and results, with a card that says the same."""

import hashlib
import json
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
from safetensors import safe_open

from cifar10.core.errors import UserError
from cifar10.export.session import load_exported
from cifar10.network.model_file import load_model
from tests.clone import Clone
from tools.release import main

FILES = [Path("release", name) for name in ("README.md", "cifar10.onnx", "cifar10.safetensors", "portable.json")]

WITHOUT_DVC = ("tools.release.check_lock", lambda *_: None)  # which takes a second


@pytest.fixture(autouse=True)
def _repository(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone whose results say that they are of CIFAR-10, without a release."""
    clone.enter(monkeypatch)
    for name in ("params.yaml", "dvc.lock"):
        text = Path(name).read_text(encoding="utf-8")
        Path(name).write_text(text.replace("dataset: digits", "dataset: cifar10"), encoding="utf-8")
    for file in FILES[:3]:
        file.unlink()


def test_the_network_gets_a_card_that_says_what_the_results_say(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit("results")
    with monkeypatch.context() as patch:
        patch.setattr(*WITHOUT_DVC)  # the second call has the real one
        main()
    trained, released = load_model("models/model.safetensors"), load_model("release/cifar10.safetensors")
    for name, weight in trained.network.state_dict().items():
        assert released.network.state_dict()[name].equal(weight)
    with safe_open("release/cifar10.safetensors", "pt") as file:
        known = json.loads(file.metadata()["cifar10"])["card"]
    assert known == load_exported(Path("release/cifar10.onnx")).card
    test = json.loads(Path("metrics/test.json").read_text(encoding="utf-8"))
    assert {key: known[key] for key in test if key in known} == {key: test[key] for key in known if key in test}
    assert (known["epochs"], known["training_images"], known["test_images"]) == (2, 437, 360)
    assert known["commit"] == clone.run("git", "rev-parse", "HEAD").strip()
    assert known["seeds"] == {"0": test["accuracy"]}
    text = Path("release/README.md").read_text(encoding="utf-8")
    assert f"**{100 * test['accuracy']:.2f} %** of 360 images" in text
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) % \|", text, re.MULTILINE)
    recall = [line.split(",")[2] for line in Path("plots/per_class.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert [float(found) for _, found in rows] == [round(100 * float(value), 1) for value in recall]
    first = [file.read_bytes() for file in FILES]
    main()
    assert [file.read_bytes() for file in FILES] == first


def test_the_card_names_the_seeds_of_this_code_and_setting_alone(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four experiments, one differs in the seed, the others also in the rate, the code or the type of machine."""
    clone.commit("results")
    test = json.loads(Path("metrics/test.json").read_text(encoding="utf-8"))
    base = clone.run("git", "rev-parse", "HEAD").strip()
    lock = Path("dvc.lock").read_text(encoding="utf-8")
    run, fp32, bf16 = Path("metrics/run.json").read_text(encoding="utf-8"), '"precision": "fp32"', '"precision": "bf16"'
    assert fp32 in run
    md5 = [hashlib.md5(text.encode()).hexdigest() for text in (run, run.replace(fp32, bf16))]
    (code,) = re.findall(r"src/cifar10/training\n +hash: md5\n +md5: (\w+)", lock)
    for name, changes in {
        "seed": {"seed: 0": "seed: 1"},
        "rate": {"seed: 0": "seed: 2", "lr: 0.2": "lr: 0.3"},
        "code": {"seed: 0": "seed: 3", code: "0" * 32},
        "machine": {"seed: 0": "seed: 4", fp32: bf16, md5[0]: md5[1]},
    }.items():
        for file in (Path("params.yaml"), Path("dvc.lock"), Path("metrics/run.json")):
            text = file.read_text(encoding="utf-8")
            for old, new in changes.items():
                text = text.replace(old, new)
            file.write_text(text, encoding="utf-8")
        clone.commit(name)
        clone.run("git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", "HEAD")
        clone.run("git", "reset", "-q", "--hard", base)
    monkeypatch.setattr(*WITHOUT_DVC)
    main()
    assert load_exported(Path("release/cifar10.onnx")).card["seeds"] == {"0": test["accuracy"], "1": test["accuracy"]}


def test_nothing_is_written_before_all_is_made(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit("results")
    monkeypatch.setattr("tools.release.with_facts_safetensors", Mock(side_effect=UserError("full")))
    monkeypatch.setattr(*WITHOUT_DVC)
    assert refusal() == "full"


def test_code_that_is_not_committed_is_refused(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit("results")
    Path("src/cifar10/new.py").write_text("", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(*WITHOUT_DVC)
        said = refusal()
    assert said.startswith("the card names the commit of the code, but src/cifar10/new.py is not committed; ")
    Path("src/cifar10/new.py").unlink()
    train = Path("stages/train.py")
    train.write_text(train.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert refusal() == "dvc.lock is outdated: train: stages/train.py changed; dvc repro, then this command again"


def refusal() -> str:
    with pytest.raises(UserError) as error:
        main()
    assert [file.name for file in FILES if file.exists()] == ["portable.json"]
    return str(error.value)


def test_results_that_are_not_of_the_parameters_are_refused(clone: Clone) -> None:
    clone.set_params(lr=0.3)
    assert refusal().startswith(
        "params.yaml has changed since the results were made: lr was 0.2, is 0.3. Make them again"
    )


def test_a_network_of_other_data_is_refused() -> None:
    for name in ("params.yaml", "dvc.lock"):
        text = Path(name).read_text(encoding="utf-8")
        Path(name).write_text(text.replace("dataset: cifar10", "dataset: digits"), encoding="utf-8")
    assert refusal() == "release: holds a network of cifar10, but params.yaml has dataset: digits"


def test_another_or_a_missing_network_is_named() -> None:
    for name in ("model.onnx", "model.safetensors"):
        path = Path("models", name)
        data = path.read_bytes()
        path.unlink()
        assert refusal() == f"models/{name}: cannot be read: No such file or directory; make it: dvc repro"
        path.write_bytes(b"of another training")
        assert refusal().startswith(f"models/{name}: is not the one that dvc.lock names; ")
        path.write_bytes(data)


def test_a_lock_without_it_is_named() -> None:
    for lock in ("", "stages: {}", "stages: {export: {outs: []}}", "[", "stages:"):
        Path("dvc.lock").write_text(lock, encoding="utf-8")
        assert refusal() == "dvc.lock: has no models/model.onnx and models/model.safetensors; make them: dvc repro"
