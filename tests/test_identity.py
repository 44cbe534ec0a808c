"""When a stopped training is resumed, and what is said when it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cifar10.core.lock import hold, is_held
from cifar10.core.params import Params
from cifar10.core.params_file import parse_params
from cifar10.training.identity import digest, not_resumed, remember, training_identity
from stages.support.formats import declared_files
from tests.clone import Clone, changed

MACHINE: dict[str, object] = {"device": "cpu", "threads": 1}


def identity(machine: dict[str, object] = MACHINE, **changes: object) -> dict[str, Any]:
    params: Params = parse_params(changed(Path("params.yaml").read_text(encoding="utf-8"), **changes))
    return training_identity(params, machine, declared_files("train"))


@pytest.fixture(autouse=True)
def _in_the_clone(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.path)


def test_what_train_depends_on_changes_it() -> None:
    code = "src/cifar10/training/loop.py src/cifar10/core/lock.py stages/support/stop.py requirements.lock"
    for path in (*code.split(), "metrics/dataset.json", "data/train/sha256.json"):
        before = identity()
        assert path in before["files"]
        Path(path).write_text(Path(path).read_text(encoding="utf-8") + "\n", encoding="utf-8")
        after = identity()
        assert digest(after) != digest(before)
        assert {name for name in before["files"] if before["files"][name] != after["files"][name]} == {path}


def test_what_train_does_not_depend_on_does_not_change_it() -> None:
    before = digest(identity())
    library = "src/cifar10/evaluation/calibration.py src/cifar10/sources/fetch.py"
    for path in (*library.split(), "stages/evaluate.py", "tools/verify.py", "README.md"):
        assert Path(path).exists()
        Path(path).write_text("another", encoding="utf-8")
    assert digest(identity(tta="none", workers=3)) == before


def test_parameters_of_the_training_and_the_machine_change_it() -> None:
    changed_ones = [identity(seed=1), identity(lr=0.1), identity(dropout=0.1), identity(augment_with="albumentations")]
    others = [identity(), identity(MACHINE | {"threads": 2})]
    assert len({digest(each) for each in changed_ones + others}) == 6


def test_an_unfinished_training_that_is_not_resumed_is_reported(tmp_path: Path) -> None:
    def unfinished(name: str, what: dict[str, Any], keep: Callable[[Path], None]) -> Path:
        folder = tmp_path / "checkpoints" / name
        remember(folder, what)
        keep(folder / "000001.pt")
        return folder

    here = tmp_path / "checkpoints" / "here"
    before = identity()
    assert list(not_resumed(here, before)) == []
    unfinished("here", before, Path.touch)  # resumed: nothing to say
    unfinished("lr", identity(lr=0.1), Path.touch)  # another experiment
    other_code = before["files"] | {"src/cifar10/training/muon.py": "x"}
    code = unfinished("code of old", before | {"files": other_code}, Path.touch)
    machine = unfinished("machine", before | {"machine": MACHINE | {"threads": 2}}, Path.touch)
    (tmp_path / "checkpoints" / "an old one").mkdir()  # of a version that wrote no identity
    (tmp_path / "checkpoints" / "an old one" / "000001.pt").touch()
    unfinished("an older one", {"a": {}}, Path.touch)  # of a version that wrote another identity
    running = unfinished("running", before | {"machine": {}}, Path.touch)
    unfinished("empty", before | {"machine": {}}, lambda _: None)  # nothing was saved
    with hold(running / "lock", "it"):
        lines = list(not_resumed(here, before))
    assert [line.partition(":")[2].partition(":")[0].strip() for line in lines] == [str(code), str(machine)]
    assert "is not resumed, as src/cifar10/training/muon.py changed since" in lines[0]
    assert "is not resumed, as threads changed since" in lines[1]
    assert lines[0].endswith(f"rm -r '{code}'")
    assert not is_held(tmp_path / "gone" / "lock")
    assert not (tmp_path / "gone").exists()  # a training that has removed its folder does not get it back
