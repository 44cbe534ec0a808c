"""Ask git and DVC for the commit that a sweep starts from, and for the experiments that have arrived."""

import configparser
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from cifar10.core.errors import UserError
from tools.records import experiment_refs
from tools.repository import DVC, committed, git

RESULTS = ("params.yaml", "dvc.lock", "metrics/", "plots/")  # may differ from the commit


def clean_commit(table: Path | None = None) -> str:
    """Return the commit that every experiment starts from. Raise UserError if the workspace has other code.

    `table`, the file that names the settings, need not be committed.
    """
    status = git("status", "--porcelain", "--no-renames", "--untracked-files=all", "-z").split("\0")
    differ = [entry[3:] for entry in status if entry and not entry[3:].startswith(RESULTS)]
    changed = [path for path in differ if table is None or Path(path).resolve() != table.resolve()]
    if changed:
        names = ", ".join(changed[:5])
        raise UserError(f"experiments run the committed code, but {names} is new or changed; git commit first")
    return git("rev-parse", "HEAD")


def published(commit: str) -> str:
    """Return the URL from which other machines clone the commit. Raise UserError if it or a DVC remote is missing."""
    if not git("branch", "--remotes", "--contains", commit, "--list", "origin/*"):
        raise UserError(f"--address: other machines clone origin, which has no commit {commit[:7]}; git push first")
    config = configparser.RawConfigParser()
    config.read_string(committed(commit, ".dvc/config").decode())
    if not (remote := config.get("core", "remote", fallback=None)):
        raise UserError(
            "--address: data and results travel through a DVC remote, and .dvc/config has none; docs/remotes.md shows "
            "how to add one; commit and push .dvc/config, as the other machines read it"
        )
    sections = {name.strip("'"): name for name in config.sections()}  # DVC quotes them, but reads them without
    url = config.get(sections.get(f'remote "{remote}"', ""), "url", fallback="").strip("\"'")
    if "://" not in url and not Path(url).expanduser().is_absolute():
        raise UserError(
            f"--address: the path of the DVC remote {remote} begins at each machine's clone; give the full one: "
            f"dvc remote modify {remote} url /full/path (got {url}); commit and push .dvc/config"
        )
    return git("remote", "get-url", "origin")


def arrived(commit: str, names: Collection[str], fetch: bool) -> set[str]:
    """Return those of the experiments that this repository has. `fetch` first pulls those that only `origin` has."""
    found = [ref.name for ref in experiment_refs() if ref.base == commit]
    if fetch:
        there = [ref.name for ref in experiment_refs("origin") if ref.base == commit]
        missing = [name for name in there if digest(name) in map(digest, names) and name not in found]
        pull(missing)
        found += missing
    return {name for name in names if digest(name) in map(digest, found)}


def digest(name: str) -> str:
    """Return the part of a name that stands for all parameters. What comes before depends on the sweep."""
    return name.rpartition("_")[2]


def pull(names: Sequence[str]) -> None:
    """Bring experiments, with their files, from `origin` and the DVC remote."""
    if names and subprocess.run([DVC, "exp", "pull", "--quiet", "origin", *names]).returncode:
        raise UserError("dvc exp pull failed, see above; the experiments are in origin: the same command tries again")
