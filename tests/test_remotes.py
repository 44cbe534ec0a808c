"""What docs/remotes.md says of a remote that is a folder; SSH and S3 differ only in the address."""

from pathlib import Path

import pytest

from tests.clone import Clone

STORAGE = "../the storage"


@pytest.fixture
def hub(clone: Clone, tmp_path: Path) -> Path:
    """A bare git repository that `clone` calls origin."""
    path = tmp_path / "hub.git"
    clone.run("git", "clone", "-q", "--bare", ".", str(path))
    clone.run("git", "remote", "add", "origin", str(path))
    return path


def cloned(hub: Path, path: Path) -> Clone:
    """A second clone in another place, with an empty cache."""
    path.mkdir(parents=True)
    other = Clone(path)
    other.run("git", "clone", "-q", str(hub), ".")
    return other


def test_a_second_clone_computes_nothing(clone: Clone, hub: Path, tmp_path: Path) -> None:
    add = ("dvc", "remote", "add", "--local", "--default", "storage")
    clone.run(*add, STORAGE)
    clone.run("dvc", "push", "--run-cache")
    other = cloned(hub, tmp_path / "elsewhere" / "clone")
    other.run(*add, str(clone.path / STORAGE))
    assert not list(other.path.glob("data/*")) + list(other.path.glob("models/*.*"))
    assert other.ran(other.run("dvc", "repro", "--pull")) == []
    assert other.outputs() == clone.outputs()
    assert other.run("git", "status", "--porcelain") == ""

    # Without the lock only the run cache can help, and DVC pushes no file of it that git keeps.
    bare = cloned(hub, tmp_path / "without lock" / "clone")
    bare.run(*add, str(clone.path / STORAGE))
    bare.run("git", "switch", "-q", "--detach", "HEAD~1")
    assert not (bare.path / "dvc.lock").exists()
    assert bare.ran(bare.run("dvc", "repro", "--pull", "compute_stats")) == ["compute_stats"]
    clone.run("cp", "-R", ".dvc/cache/.", STORAGE)
    assert bare.ran(bare.run("dvc", "repro", "--pull")) == []
    assert bare.outputs() == clone.outputs()


def test_an_experiment_arrives_with_its_network_by_a_committed_remote(clone: Clone, hub: Path, tmp_path: Path) -> None:
    first, storage, there = clone.outputs(), tmp_path / "storage", tmp_path / "storage there"
    clone.run("git", "reset", "-q", "--soft", "HEAD~1")  # the results are an experiment on the commit without any
    clone.run("dvc", "remote", "add", "--default", "storage", str(storage))
    clone.run("git", "commit", "-qm", "remote", ".dvc/config")
    clone.run("git", "push", "-q", "--force", "origin", "HEAD")
    assert clone.ran(clone.run("dvc", "exp", "run", "--name", "found")) == []
    clone.run("dvc", "exp", "push", "origin", "found")
    other = cloned(hub, tmp_path / "elsewhere" / "clone")
    assert "storage" in other.run("dvc", "remote", "list")
    storage.rename(there)  # the folder has another path there: that stays in the clone, git does not see it
    other.run("dvc", "remote", "modify", "--local", "storage", "url", str(there))
    assert other.run("git", "status", "--porcelain") == ""
    assert "found" not in other.run("dvc", "exp", "list")
    assert "found" in other.run("dvc", "exp", "list", "origin")
    other.run("dvc", "exp", "pull", "origin", "found")
    other.run("dvc", "exp", "apply", "found")
    assert other.outputs() == first
    assert other.ran(other.run("dvc", "repro")) == []
