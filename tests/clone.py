"""The repository as a user has it, for tests that run DVC."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import psutil
import pytest

from tools.params_editor import edited
from tools.same import CPU

ROOT = Path(__file__).parent.parent
PARAMS = (ROOT / "recipes/default.yaml").read_text() + CPU  # whatever the workspace's params.yaml holds
TINY = {"dataset": "digits", "validation_size": 1000, "batch_size": 32, "epochs": 2}
# As in a notebook, or in a shell with another project's settings.
HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONPATH": "/another/project",
    "PYTHONSAFEPATH": "1",
    "LC_ALL": "en_US.ISO-8859-1",
}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RESULTS = ("dvc.lock", "metrics", "plots", "params.yaml", ".dvc/config")  # what a user's own runs and choices change


def git(*arguments: str) -> str:
    """What git says of this repository."""
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True)


def committed(path: str) -> bytes:
    """A file of the last commit, whatever the workspace holds."""
    return subprocess.check_output(["git", "show", f"HEAD:{path}"], cwd=ROOT)


def changed(text: str, **params: object) -> str:
    """The text of params.yaml with these top-level values; a string is read as YAML."""
    return edited(text, params)


def running(pid: int) -> bool:
    """False for a zombie, which some containers never remove."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Clone:
    """The code of this working tree in a folder of its own, committed, without results; digits for data."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, path: Path, **params: object) -> "Clone":
        """A new one in `path`, with these parameters on top of TINY."""
        for name in filter(None, git("ls-files", "-co", "--exclude-standard", "-z").split("\0")):
            if not name.startswith(RESULTS) and (ROOT / name).exists():  # not deleted in the working tree
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, path / name)
        (path / "params.yaml").write_text(changed(PARAMS, **TINY | params))
        (path / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
        clone = cls(path)
        clone.run("git", "init", "-q")
        clone.commit("clone")
        return clone

    def set_params(self, **params: object) -> None:
        file = self.path / "params.yaml"
        file.write_text(changed(file.read_text(), **params))

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def run(self, *command: str, code: int = 0) -> str:
        """Output and errors of a command that must end with this exit code."""
        process = self.start(*command)
        output, _ = process.communicate()
        assert process.returncode == code, output
        return output

    def start(self, *command: str, **variables: str) -> "subprocess.Popen[str]":
        """The command in a session of its own, its output and errors in one pipe."""
        env = self.environment() | variables
        return subprocess.Popen(
            command, cwd=self.path, env=env, encoding="utf-8", stdout=PIPE, stderr=STDOUT, start_new_session=True
        )

    def environment(self) -> dict[str, str]:
        """Nothing of the user's: no configuration of git or DVC, no cache, no network."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_", "DATA_"))}
        own = self.path.parent / "of its own"
        folders = (
            "HOME",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "DVC_GLOBAL_CONFIG_DIR",
            "DVC_SYSTEM_CONFIG_DIR",
            "DVC_SITE_CACHE_DIR",
        )
        person = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **{name: str(own / name.lower()) for name in folders},
            **dict.fromkeys(person, "test@example.invalid"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "COLUMNS": "500",
            "SHELL": "/bin/sh",  # as where SHELL is not set; it may be dash, which stays while what it has called runs
            "PYTHONUNBUFFERED": "1",
            # No network: whatever asks for it is refused.
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
        }

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the current folder of this process, with nothing of the user's."""
        environment = self.environment()
        for name in os.environ.keys() - environment.keys():
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(self.path)

    @staticmethod
    def read_until(process: "subprocess.Popen[str]", beginning: str) -> str:
        """The output up to the first line that begins so, or to the end where there is none."""
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith(beginning):
                break
        return output

    def ran(self, output: str) -> list[str]:
        return re.findall(r"Running stage '(\w+)'", output)

    def outputs(self) -> dict[str, str]:
        """md5 of every output but run.json, which says what machine it was and how long it took."""
        folders = ("data", "models", "metrics", "plots")
        files = [path for folder in folders for path in (self.path / folder).rglob("*.*")]
        return {
            str(path.relative_to(self.path)): hashlib.md5(path.read_bytes()).hexdigest()
            for path in files
            if path.is_file() and path.name not in ("run.json", ".gitignore")
        }
