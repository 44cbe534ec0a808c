"""A model file gives back what was saved, and refuses what is damaged."""

import hashlib
import struct
from pathlib import Path

import pytest
import torch
from torch import nn

from cifar10.core.data import Statistics
from cifar10.core.errors import UserError
from cifar10.core.params import Execution
from cifar10.network.model import Net
from cifar10.network.model_file import load_model, model_digest, save_model

CLASSES, STATISTICS = [f"class {i}" for i in range(10)], Statistics([0.1, 0.2, 1 / 3], [0.25, 0.5, 1.0])


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Net]:
    torch.manual_seed(0)
    network = Net("lattice", dropout=0.1, classes=10)
    network(torch.randn(8, 3, 32, 32))  # BatchNorm's statistics are no longer those of the start
    save_model(tmp_path / "model", network, CLASSES, STATISTICS, {"lr": 0.1})
    return tmp_path / "model", network.eval()


@pytest.mark.parametrize("execution", ["lattice", "dense"])
def test_what_was_saved_comes_back(saved: tuple[Path, Net], execution: Execution) -> None:
    path, network = saved
    loaded = load_model(str(path), execution)
    assert (loaded.classes, loaded.statistics) == (CLASSES, STATISTICS)
    assert not loaded.network.training
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(images), network(images))


def test_the_same_network_gives_the_same_bytes(saved: tuple[Path, Net], tmp_path: Path) -> None:
    path, network = saved
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_model(tmp_path / "again", network, CLASSES, STATISTICS, {"lr": 0.1})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("where", [5, 500, -1000])
def test_a_flipped_bit_is_noticed(saved: tuple[Path, Net], where: int) -> None:
    path, _ = saved
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged|eader"):  # safetensors names its header itself
        load_model(path)


def test_the_weights_of_another_network_are_one_line(saved: tuple[Path, Net], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar10.network.model_file.Net", lambda *_, **__: nn.Linear(3, 3))
    with pytest.raises(UserError, match=r"^.+: has other layers than .+; train again: dvc repro, or set pretr"):
        load_model(saved[0])


def test_the_digest_is_of_the_metadata_and_of_names_types_shapes_and_bytes() -> None:
    weights, about = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor([3])}, {"z": [0.5], "c": 1}
    text = b'{"c": 1, "z": [0.5]}\na int64 (1,)\n' + struct.pack("<q", 3)
    text += b"b float32 (1, 2)\n" + struct.pack("<ff", 1, 2)
    assert model_digest(weights, about) == hashlib.sha256(text).hexdigest()
    assert model_digest(dict(reversed(weights.items())), about) == model_digest(weights, about)
    column = torch.tensor([[1.0, 9.0], [2.0, 9.0]])[:, :1].T  # not contiguous
    assert model_digest(weights | {"b": column}, about) == model_digest(weights, about)
    others = [
        {"c": weights["b"], "a": weights["a"]},
        weights | {"b": weights["b"].T},
        weights | {"a": torch.tensor([3], dtype=torch.int32)},
        weights | {"a": torch.tensor([4])},
        {"a": weights["a"]},
    ]
    assert len({model_digest(each, about) for each in [weights, *others]}) == 6
