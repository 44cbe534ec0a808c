"""Ask git, and copy this repository to run the pipeline in the copy."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cifar10.core.errors import UserError

DVC = str(Path(sys.executable).with_name("dvc"))


def keep_data_mirror() -> None:
    """Make a relative DATA_MIRROR absolute, so that it means the same folder in a copy elsewhere."""
    if mirror := os.environ.get("DATA_MIRROR"):
        os.environ["DATA_MIRROR"] = mirror if "://" in mirror else str(Path(mirror).resolve())


def git(*arguments: str) -> str:
    """Return what git prints. Raise UserError with its message if it fails."""
    return os.fsdecode(_git(*arguments)).rstrip("\n")


def committed(commit: str, path: str) -> bytes:
    """Return the bytes of a file of a commit. The path is relative to the current folder."""
    return _git("show", f"{commit}:./{path}")


def blobs(names: Sequence[str]) -> list[bytes | None]:
    """Return files of commits, named COMMIT:./PATH, with one call of git, and None for each that does not exist."""
    command, listed = ["git", "cat-file", "--batch"], os.fsencode("\n".join(names))
    english = os.environ | {"LC_ALL": "C"}  # in which a warning begins as below
    done = subprocess.run(command, input=listed, capture_output=True, check=False, env=english)
    output, found = io.BytesIO(done.stdout), list[bytes | None]()
    for _ in names if not done.returncode else ():
        *_, size = output.readline().split()  # "ID blob SIZE" or "NAME missing"
        found.append(None if size == b"missing" else output.read(int(size) + 1)[:-1])  # a line feed follows
    said = done.stderr.decode(errors="replace").splitlines()
    errors = [line for line in said if not line.startswith("warning:")]
    if done.returncode or (None in found and errors):  # the repository is damaged
        raise UserError(f"git cat-file: {' '.join(errors or said)}")
    return found


def copy_working_tree(folder: Path) -> None:
    """Copy the files as they are, committed or not, except what git ignores, into a repository without a commit."""
    for path in map(Path, git("ls-files", "-co", "--exclude-standard", "-z").split("\0")):
        if path.is_file() or path.is_symlink():  # not deleted, nor a repository within this one
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, folder / path, follow_symlinks=False)
    git("-C", str(folder), "init", "-q")  # DVC needs a repository, but no commit


def copy_commit(commit: str, folder: Path) -> None:
    """Write the files of a commit."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as files:
        files.extractall(folder, filter="data")


@contextmanager
def running_python(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run python in a copy of the repository until the block ends. What it prints goes into the file `log` there."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:  # also where a signal ends this
        process.kill()
        process.wait()


def _git(*arguments: str) -> bytes:
    command = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if command.returncode:
        raise UserError(f"git {arguments[0]}: {' '.join(command.stderr.decode(errors='replace').split())}")
    return command.stdout
