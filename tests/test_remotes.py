"""What docs/remotes.md says of a remote that is a folder; SSH and S3 differ only in the address."""

from pathlib import Path

import pytest

from tests.clone import ROOT, Clone
from tests.test_docs import blocks
from tools.records import experiment_refs


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


def remote(folder: Path) -> str:
    """What `dvc remote add --default storage` writes from the section core on, without the second of starting DVC."""
    return f"    remote = storage\n['remote \"storage\"']\n    url = {folder}\n"


def test_a_second_clone_computes_nothing(clone: Clone, hub: Path, tmp_path: Path) -> None:
    for command in blocks(ROOT / "docs/remotes.md", "sh")[0].splitlines():
        output = clone.run("sh", "-c", command)
    other, storage = Clone(clone.path.parent / "cifar10-second"), clone.path.parent / "cifar10-storage"
    assert other.ran(output) == []
    assert other.outputs() == clone.outputs()
    assert other.run("git", "status", "--porcelain") == ""

    # Without the lock only the run cache can help, and DVC pushes no file of it that git keeps.
    bare = cloned(hub, tmp_path / "without lock" / "clone")
    (bare.path / ".dvc/config.local").write_text("[core]\n" + remote(storage))
    bare.run("git", "switch", "-q", "--detach", "HEAD~1")
    assert not (bare.path / "dvc.lock").exists()
    assert bare.ran(bare.run("dvc", "repro", "--pull", "compute_stats")) == ["compute_stats"]
    clone.run("cp", "-R", ".dvc/cache/.", str(storage))
    assert bare.ran(bare.run("dvc", "repro", "--pull")) == []
    assert bare.outputs() == clone.outputs()


def test_an_experiment_arrives_with_its_network_by_a_committed_remote(clone: Clone, hub: Path, tmp_path: Path) -> None:
    first, storage, there = clone.outputs(), tmp_path / "storage", tmp_path / "storage there"
    clone.run("git", "reset", "-q", "--soft", "HEAD~1")  # the results are an experiment on the commit without any
    with (clone.path / ".dvc/config").open("a") as config:
        config.write(remote(storage))  # [core] is its last section
    clone.run("git", "commit", "-qm", "remote", ".dvc/config")
    clone.run("git", "push", "-q", "--force", "origin", "HEAD")
    assert clone.ran(clone.run("dvc", "exp", "run", "--name", "found")) == []
    clone.run("dvc", "exp", "push", "origin", "found")
    other = cloned(hub, tmp_path / "elsewhere" / "clone")
    storage.rename(there)  # the folder has another path there: that stays in the clone, git does not see it
    other.run("dvc", "remote", "modify", "--local", "storage", "url", str(there))
    assert other.run("git", "status", "--porcelain") == ""
    assert experiment_refs(str(other.path)) == []
    assert "found" in other.run("dvc", "exp", "list", "origin")
    other.run("dvc", "exp", "pull", "origin", "found")
    other.run("dvc", "exp", "apply", "found")
    assert other.outputs() == first
    assert other.ran(other.run("dvc", "repro")) == []
