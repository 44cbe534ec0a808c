"""Checkpoints that are damaged in every way are never used; the one before, or none, is."""

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from cifar10.core.errors import UserError
from cifar10.training.checkpoints import Checkpoints


def state(number: int) -> dict[str, Any]:
    return {"weights": torch.full((100,), float(number)), "history": [0.5, number], "name": "x"}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    """Three saved states, of which the two newest are kept."""
    result = Checkpoints(tmp_path / "of one", "one")
    for number in (1, 2, 3):
        result.save(state(number))
    return result


def number_of(loaded: dict[str, Any] | None) -> int | None:
    if loaded is None:
        return None
    assert torch.equal(loaded["weights"], state(loaded["history"][1])["weights"])
    return int(loaded["history"][1])


def test_the_newest_is_loaded_and_the_one_before_kept(checkpoints: Checkpoints) -> None:
    assert number_of(checkpoints.load()) == 3
    assert [path.name for path in sorted(checkpoints.folder.iterdir())] == ["000002.pt", "000003.pt"]
    checkpoints.remove()
    assert checkpoints.load() is None
    assert not checkpoints.folder.exists()
    checkpoints.remove()  # twice is no fault


def damaged(content: bytes, how: str) -> bytes:
    lengths = {"empty": 0, "truncated": len(content) // 2, "short": 10}
    if how in lengths:
        return content[: lengths[how]]
    position = {"first": 0, "digest": 31, "middle": len(content) // 2, "last": len(content) - 1}[how]
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize("how", ["empty", "truncated", "short", "first", "digest", "middle", "last"])
def test_a_damaged_one_is_named_and_the_one_before_used(
    checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    newest, before = checkpoints.folder / "000003.pt", checkpoints.folder / "000002.pt"
    newest.write_bytes(damaged(newest.read_bytes(), how))
    assert number_of(checkpoints.load()) == 2
    assert capsys.readouterr().err == f"warning: {newest}: the checkpoint is damaged; it is not used\n"
    checkpoints.save(state(4))
    assert number_of(checkpoints.load()) == 4
    assert before.exists()  # still the one before
    for path in checkpoints.folder.iterdir():
        path.write_bytes(damaged(path.read_bytes(), how))
    assert checkpoints.load() is None


def test_one_of_another_training_is_not_used(checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]) -> None:
    other = Checkpoints(checkpoints.folder.parent / "of another", "another")
    shutil.copytree(checkpoints.folder, other.folder)
    assert other.load() is None
    assert "is of other parameters, data or code" in capsys.readouterr().err


def test_one_half_written_is_no_checkpoint(checkpoints: Checkpoints) -> None:
    (checkpoints.folder / "000004.pt.tmp").write_bytes(b"half")
    assert number_of(checkpoints.load()) == 3
    checkpoints.save(state(4))
    assert number_of(checkpoints.load()) == 4


def test_a_disk_that_is_full_leaves_the_older_ones(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(
        UserError, match=r"000004.pt: cannot be written: No space left on device, .* MB needed, .* free"
    ):
        checkpoints.save(state(4))
    monkeypatch.undo()
    assert [path.name for path in sorted(checkpoints.folder.iterdir())] == ["000002.pt", "000003.pt"]
    assert number_of(checkpoints.load()) == 3


def test_nothing_is_unpickled_but_tensors_and_plain_values(checkpoints: Checkpoints) -> None:
    checkpoints.save({"weights": Path("x")})  # any class: it could run code when loaded
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoints.load()
