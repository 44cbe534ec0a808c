"""make verify: run the pipeline anew in a clone elsewhere, compare every output with dvc.lock. Not a stage itself."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cifar10.errors import UserError

MEASURED = {"seconds", "waiting_for_data", "images_per_second"}
DVC = str(Path(sys.executable).with_name("dvc"))


def verify() -> None:
    """Print which outputs match; UserError where one does not, with what differs between the two machines."""
    expected, then = outputs(Path()), read_run(Path())
    if mirror := os.environ.get("DATA_MIRROR"):  # relative to here, not to the clone
        os.environ["DATA_MIRROR"] = mirror if "://" in mirror else str(Path(mirror).resolve())
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        # The files as they are, committed or not, without touching them; nothing to stash means: as committed.
        now = git("stash", "create") or git("rev-parse", "HEAD")
        git("clone", "-q", "--no-checkout", ".", folder)
        git("-C", folder, "fetch", "-q", str(Path.cwd()), now)
        git("-C", folder, "checkout", "-q", now)
        if subprocess.run([DVC, "repro", "--force"], cwd=folder, check=False).returncode:
            raise UserError("verify: dvc repro failed, see above")
        found, here = outputs(Path(folder)), read_run(Path(folder))
    print()
    for path, digest in expected.items():
        print(f"{'same     ' if found.get(path) == digest else 'DIFFERENT'}  {path}")
    if found != expected:
        differ = (name for name in sorted({*then, *here}) if then.get(name) != here.get(name))
        reasons = "; ".join(f"{name} was {then.get(name)}, is {here.get(name)} here" for name in differ)
        raise UserError(
            f"verify: not the same bytes; of the conditions in metrics/run.json: {reasons or 'none differs'}"
        )


def outputs(folder: Path) -> dict[str, str]:
    """md5 of every output that dvc.lock names, but of metrics/run.json."""
    try:
        stages: dict[str, Any] = YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"]
    except OSError as error:
        raise UserError(f"dvc.lock: {error.strerror}; make it with: dvc repro") from None
    entries = (out for stage in stages.values() for out in stage.get("outs", []))
    return {out["path"]: out["md5"] for out in entries if out["path"] != "metrics/run.json"}


def read_run(folder: Path) -> dict[str, object]:
    run = json.loads((folder / "metrics/run.json").read_text())
    return {name: value for name, value in run.items() if name not in MEASURED}


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    try:
        verify()
    except UserError as error:
        sys.exit(f"error: {error}")
