"""The repository as a user has it, for tests that run DVC."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
TINY = {"dataset": "digits", "validation_size": 50, "workers": 0}


class Clone:
    """This working tree, committed anew in a folder of its own, with digits for data."""

    def __init__(self, path: Path, **params: object) -> None:
        self.path = path
        self.seconds: dict[str, float] = {}  # of each stage, where the fixture has run them
        listing = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
        for name in filter(None, listing.split("\0")):
            if (ROOT / name).exists():  # not deleted in the working tree
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, path / name)
        text = (path / "params.yaml").read_text()
        for key, value in (TINY | params).items():
            text = re.sub(rf"(?m)^{key}: \S+", f"{key}: {value}", text)
        (path / "params.yaml").write_text(text)
        self.run("git", "init", "-q")
        self.run("git", "config", "user.email", "test@example.invalid")
        self.run("git", "config", "user.name", "test")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "clone")

    def run(self, *command: str, code: int = 0) -> str:
        """Output and errors of a command that must end with this exit code."""
        process = self.start(*command)
        output, _ = process.communicate()
        assert process.returncode == code, output
        return output

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """The command in a session of its own, its output and errors in one pipe."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(self.path.parent / "cache"),
            "COLUMNS": "500",
            "SHELL": "/bin/sh",  # as where SHELL is not set; it may be dash, which stays while what it has called runs
            "PYTHONUNBUFFERED": "1",
            # No network: whatever asks for it is refused.
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
        }
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

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

    def repro(self) -> tuple[str, dict[str, float]]:
        """Output of a `dvc repro` that must succeed, and the seconds of each stage that ran."""
        process, seconds, output, stage, started = self.start("dvc", "repro"), {}, "", "", 0.0
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if found := re.match(r"Running stage '(\w+)'", line):
                stage, started = found[1], time.monotonic()
            seconds[stage] = time.monotonic() - started
        process.communicate()
        assert process.returncode == 0, output
        return output, seconds

    def outputs(self) -> dict[str, str]:
        """md5 of every output but run.json, which tells of the machine and the time."""
        folders = ("data", "models", "metrics", "plots")
        files = [path for folder in folders for path in (self.path / folder).rglob("*.*")]
        return {
            str(path.relative_to(self.path)): hashlib.md5(path.read_bytes()).hexdigest()
            for path in files
            if path.is_file() and path.name not in ("run.json", ".gitignore")
        }
