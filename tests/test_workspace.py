"""The tests do not depend on what the workspace holds: whoever ran the demo or an experiment sees them pass as well."""

import subprocess
import sys
from pathlib import Path

from tests.clone import PARAMS, RESULTS, TINY, Clone, changed, committed, git

# Those that read this repository itself, and one that makes a clone of it.
COMMENTS = "test_comments_of_the_committed_file_are_the_descriptions_of_the_schema"
READERS = ("committed.py", f"params.py::{COMMENTS}", "recipes.py", "workspace.py")


def test_a_clone_has_nothing_of_the_workspace_but_its_code(tmp_path: Path) -> None:
    clone = Clone.make(tmp_path / "clone", seed=3)
    assert (clone.path / "params.yaml").read_text() == changed(PARAMS, **TINY, seed=3)
    assert not [name for name in ("dvc.lock", "metrics", "plots") if (clone.path / name).exists()]
    assert "stages/train.py" in clone.run("git", "ls-files")
    assert clone.run("git", "status", "--porcelain") == ""
    assert clone.run("dvc", "cache", "dir").strip() == str(clone.path / ".dvc/cache")


def test_after_the_demo(clone: Clone, tmp_path: Path) -> None:
    user = Clone.make(tmp_path / "user")
    for name in git("ls-files", "--with-tree=HEAD", *RESULTS, "release").splitlines():
        (user.path / name).parent.mkdir(parents=True, exist_ok=True)
        (user.path / name).write_bytes(committed(name))
    user.commit("as committed")
    user.set_params(dataset="digits", epochs=20, validation_size=200, lr=0.01, seed=12345)
    for name in ("metrics/test.json", "plots/loss.csv", "dvc.lock"):
        (user.path / name).write_bytes((clone.path / name).read_bytes())
    (user.path / "plots/mistakes.png").unlink()
    hooks = user.path / ".git/refusing hooks"
    hooks.mkdir()
    for hook in ("pre-commit", "post-checkout"):
        (hooks / hook).write_text("#!/bin/sh\nexit 1\n")
        (hooks / hook).chmod(0o755)
    environment = user.environment() | {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "dvc")}
    del environment["GIT_CONFIG_GLOBAL"]  # instead of it, git reads the one of its user
    Path(environment["HOME"]).mkdir(parents=True)
    Path(environment["HOME"], ".gitconfig").write_text(
        f'[core]\nhooksPath = "{hooks}"\nautocrlf = true\n[commit]\ngpgsign = true\n[init]\ndefaultBranch = trunk\n',
        encoding="utf-8",
    )
    before = user.run("git", "status", "--porcelain")
    assert {"M params.yaml", "M dvc.lock", "D plots/mistakes.png"} <= {line.strip() for line in before.splitlines()}
    # This test itself, and what compares the code of this workspace with the committed lock.
    skipped = "not demo and not belongs_to_the_files"
    readers = [f"tests/test_{name}" for name in READERS]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-k", skipped, *readers]
    (tmp_path / "dvc").mkdir()
    (tmp_path / "dvc/config").write_text(f'[cache]\n    dir = "{tmp_path / "shared cache"}"\n')
    process = subprocess.run(command, cwd=user.path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert user.run("git", "status", "--porcelain") == before
    assert not (tmp_path / "shared cache").exists()
