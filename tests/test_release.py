"""make release: only the network of the committed parameters, and only the one that dvc.lock names."""

import hashlib
from pathlib import Path

import pytest

from cifar10.core.errors import UserError
from tests.clone import PARAMS, changed
from tests.repository import commit, git, init
from tools.release import main

LOCK = """\
stages:
  train:
    params:
      params.yaml:
        lr: {lr}
        seed: 0
    outs: []
  export:
    deps: []
    outs:
    - path: metrics/export.json
      md5: abc
      size: 2
    - path: models/model.onnx
      md5: {md5}
      size: 7
    - path: models/model.safetensors
      md5: {weights}
      size: 7
"""
RELEASE = Path("release/cifar10.onnx")
WEIGHTS = Path("release/cifar10.safetensors")


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository with committed parameters, and the network and the lock that belong to them."""
    init(tmp_path, monkeypatch)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    commit()
    Path("models").mkdir()
    Path("models/model.onnx").write_bytes(b"network")
    Path("models/model.safetensors").write_bytes(b"weights")
    write_lock()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write_lock(lr: str = "0.2", content: bytes = b"network") -> None:
    Path("dvc.lock").write_text(LOCK.format(lr=lr, md5=md5(content), weights=md5(b"weights")), encoding="utf-8")


def test_the_network_is_copied(capsys: pytest.CaptureFixture[str]) -> None:
    Path("params.yaml").write_text("of the workspace, which does not matter", encoding="utf-8")
    main()
    assert RELEASE.read_bytes() == b"network"
    assert WEIGHTS.read_bytes() == b"weights"
    assert capsys.readouterr().out.startswith("release: release/cifar10.onnx is models/model.onnx, 7 bytes")


def refusal() -> str:
    with pytest.raises(UserError) as error:
        main()
    assert not RELEASE.exists()
    assert not WEIGHTS.exists()
    return str(error.value)


def test_other_parameters_are_refused() -> None:
    write_lock(lr="1e-05")
    assert refusal().startswith(
        "dvc.lock: is of other parameters than the committed params.yaml (lr was 1e-05, is 0.2); "
    )


def test_the_network_of_other_data_is_refused() -> None:
    """Who has committed the demo must not release a classifier of digits."""
    Path("params.yaml").write_text(changed(PARAMS, dataset="digits", validation_size=200), encoding="utf-8")
    git("commit", "-qam", "digits")
    said = "release: holds cifar10, but the committed params.yaml has dataset: digits"
    assert refusal() == said


def test_another_network_is_refused() -> None:
    write_lock(content=b"another")
    assert refusal().startswith("models/model.onnx: is not the one that dvc.lock names; ")


def test_a_missing_network_is_named() -> None:
    Path("models/model.onnx").unlink()
    assert refusal() == "models/model.onnx: cannot be read: No such file or directory; make it: dvc repro"


def test_both_files_or_none() -> None:
    Path("models/model.safetensors").write_bytes(b"of another training")
    assert refusal().startswith("models/model.safetensors: is not the one that dvc.lock names; ")


@pytest.mark.parametrize("lock", ["", "stages: {}", "stages: {export: {outs: []}}", "[", "stages:"])
def test_a_lock_without_it_is_named(lock: str) -> None:
    Path("dvc.lock").write_text(lock, encoding="utf-8")
    assert refusal() == "dvc.lock: has no models/model.onnx and models/model.safetensors; make them: dvc repro"
