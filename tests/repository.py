"""A small git repository that a test makes, the current folder."""

import os
import subprocess
from pathlib import Path

import pytest


def init(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one in `path`, without a commit, and go there. Nothing of the user's configuration counts."""
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test@example.invalid")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", os.devnull)  # where git/ignore may be
    monkeypatch.chdir(path)
    git("init", "-q", "-b", "main")


def git(*arguments: str, data: bytes | None = None) -> str:
    return subprocess.check_output(["git", *arguments], input=data).decode().strip()


def commit() -> str:
    """Commit everything that there is; return the commit."""
    git("add", "-A")
    git("commit", "-qm", "test")
    return git("rev-parse", "HEAD")
