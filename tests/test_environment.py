"""What a shell, a git hook, a notebook or a container exports for others changes nothing, and nothing of theirs."""

import os
import shlex
import site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clone import HOSTILE, ROOT, Clone


def test_no_child_inherits_what_git_exports_to_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    names = subprocess.check_output(["git", "rev-parse", "--local-env-vars"], encoding="utf-8").split()
    kept = {
        "GIT_AUTHOR_NAME": "me",
        "GIT_SSH_COMMAND": "ssh",
        "PIP_INDEX_URL": "x",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C",
    }
    dropped = {
        "GIT_CONFIG_KEY_0": "a",
        "PIP_USER": "1",
        "UV_TARGET": "x",
        "OMP_DYNAMIC": "true",
        "LOKY_MAX_CPU_COUNT": "1",
    } | HOSTILE
    for name, value in (dict.fromkeys(names, "x") | dropped | kept).items():
        monkeypatch.setenv(name, value)
    code = "import os, stages; os.system('env')"
    monkeypatch.delenv("PYTHONSAFEPATH")  # with it, -c finds no `stages`
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, encoding="utf-8")
    seen = {line.partition("=")[0] for line in output.splitlines()}
    assert not seen & {*names, *dropped} - {"LC_ALL"}
    assert kept.keys() <= seen
    script = subprocess.check_output([sys.executable, "-I", "src/cifar10/core/environment.py"], cwd=ROOT, text=True)
    assert dropped.keys() - {"LC_ALL", "PYTHONSAFEPATH"} <= set(script.split())  # for make and setup.sh


def test_no_other_library_than_that_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("print('not ours')\n")
    code = "import sys, tools, numpy; print(numpy.__name__, len([path for path in sys.path if not path]))"
    # As typed with a slash, and as some images name what is there anyway: the environment's own packages, the folder.
    paths = os.pathsep.join([f"{tmp_path}/", "", *site.getsitepackages(), "."])
    environment = os.environ | {"PYTHONPATH": paths}
    for options in ([], ["-I"]):
        start = [sys.executable, *options, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
        output = subprocess.check_output(start, cwd=ROOT, env=environment, encoding="utf-8")
        assert output == f"numpy {1 - len(options)}\n"


def test_a_rebase_in_a_linked_worktree_changes_nothing_else(tmp_path: Path) -> None:
    """git exports GIT_DIR to `rebase -x` there; `git init` of a copy would make the main checkout bare."""
    main = Clone.make(tmp_path / "main")
    (main.path / "second").touch()
    main.commit("second")
    main.run("git", "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    head = main.run("git", "rev-parse", "HEAD")
    copy = "import tools; from tools.repository import copy_working_tree as copy; from pathlib import Path; "
    command = f"{shlex.quote(sys.executable)} -c \"{copy}copy(Path('{tmp_path}/copy'))\""
    linked = Clone(tmp_path / "linked")
    linked.run("git", "rebase", "-q", "-x", command, "HEAD~1")
    assert (tmp_path / "copy/.git/HEAD").exists()
    assert main.run("git", "config", "core.bare") == "false\n"
    assert main.run("git", "rev-parse", "HEAD") == head
    assert main.run("git", "status", "--porcelain") == ""


def test_a_name_outside_the_terminals_alphabet_is_printed() -> None:
    code = "import stages; print('\\u20ac')"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment)
    assert output == b"\\u20ac\n"


def test_nothing_is_left_in_the_users_folders(reproduced: Clone) -> None:
    """After the whole pipeline on digits, run by DVC; conftest.py has matplotlib's cache in another place."""
    home = Path(reproduced.environment()["HOME"]).parent
    assert home.is_dir()
    assert [path for path in home.rglob("*") if path.is_file() and "dvc_site" not in str(path)] == []
