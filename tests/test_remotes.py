"""What docs/remotes.md says of a remote that is a folder; SSH and S3 differ only in the address."""

from pathlib import Path

import pytest

from tests.clone import Clone

STORAGE = "../the storage"


@pytest.fixture
def hub(clone: Clone, tmp_path: Path) -> Path:
    """A bare git repository that `clone` calls origin; `clone` has a remote as well, still empty."""
    path = tmp_path / "hub.git"
    clone.run("git", "clone", "-q", "--bare", ".", str(path))
    clone.run("git", "remote", "add", "origin", str(path))
    clone.run("dvc", "remote", "add", "--local", "--default", "storage", STORAGE)
    return path


def cloned(hub: Path, path: Path, storage: Path) -> Clone:
    """A second clone in another place, with an empty cache and the same remote."""
    path.mkdir(parents=True)
    other = Clone(path)
    other.run("git", "clone", "-q", str(hub), ".")
    other.run("dvc", "remote", "add", "--local", "--default", "storage", str(storage))
    return other


def test_a_second_clone_computes_nothing(clone: Clone, hub: Path, tmp_path: Path) -> None:
    storage = clone.path / STORAGE
    clone.run("dvc", "push", "--run-cache")
    other = cloned(hub, tmp_path / "elsewhere" / "clone", storage)
    assert not list(other.path.glob("data/*")) + list(other.path.glob("models/*.*"))
    assert other.ran(other.run("dvc", "repro", "--pull")) == []
    assert other.outputs() == clone.outputs()
    assert other.run("git", "status", "--porcelain") == ""

    # Without the lock only the run cache can help, and DVC pushes no file of it that git keeps.
    bare = cloned(hub, tmp_path / "without lock" / "clone", storage)
    bare.run("git", "switch", "-q", "--detach", "HEAD~1")
    assert not (bare.path / "dvc.lock").exists()
    assert bare.ran(bare.run("dvc", "repro", "--pull", "compute_stats")) == ["compute_stats"]
    clone.run("cp", "-R", ".dvc/cache/.", STORAGE)
    assert bare.ran(bare.run("dvc", "repro", "--pull")) == []
    assert bare.outputs() == clone.outputs()


def test_an_experiment_arrives_with_its_network(clone: Clone, hub: Path, tmp_path: Path) -> None:
    first = clone.outputs()
    clone.run("git", "reset", "-q", "--soft", "HEAD~1")  # the results are an experiment on the commit without any
    clone.run("git", "push", "-q", "--force", "origin", "HEAD")
    assert clone.ran(clone.run("dvc", "exp", "run", "--name", "found")) == []
    clone.run("dvc", "exp", "push", "origin", "found")
    other = cloned(hub, tmp_path / "elsewhere" / "clone", clone.path / STORAGE)
    assert "found" not in other.run("dvc", "exp", "list")
    assert "found" in other.run("dvc", "exp", "list", "origin")
    other.run("dvc", "exp", "pull", "origin", "found")
    other.run("dvc", "exp", "apply", "found")
    assert other.outputs() == first
    assert other.ran(other.run("dvc", "repro")) == []


def test_a_committed_remote_reaches_every_clone(clone: Clone, hub: Path, tmp_path: Path) -> None:
    clone.run("dvc", "remote", "remove", "--local", "storage")
    clone.run("dvc", "remote", "add", "--default", "storage", STORAGE)
    clone.commit("remote")
    clone.run("git", "push", "-q", "origin", "HEAD")
    clone.run("dvc", "push")
    node = Clone(tmp_path / "elsewhere" / "node")
    node.path.mkdir(parents=True)
    node.run("git", "clone", "-q", str(hub), ".")
    assert "storage" in node.run("dvc", "remote", "list")
    # The folder has another path there: that stays in the clone, git does not see it.
    node.run("dvc", "remote", "modify", "--local", "storage", "url", str(clone.path / STORAGE))
    node.run("dvc", "pull")
    assert node.outputs() == clone.outputs()
    assert node.run("git", "status", "--porcelain") == ""
