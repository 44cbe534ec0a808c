"""make portable: check that this processor computes the bits of release/portable.json, as any x86-64 processor must.

With `precision: portable`, each recipe there runs for a few epochs in a copy of the working tree. A change of the code
or of a library may change these bits: --write records them again.
"""

import argparse
import json
import platform
from pathlib import Path

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from tools.params_editor import edited
from tools.recipe import recipes
from tools.records import BROKEN, load_params
from tools.start import run_tool
from tools.verify import print_same, read, run_in_copy

FILE = Path("release/portable.json")
CHANGES = {"precision": "portable", "device": "auto", "threads": "auto", "workers": "auto", "epochs": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", help="those that FILE names, without CIFAR-10 if params.yaml has digits")
    parser.add_argument("--write", action="store_true", help="record what this processor computes")
    arguments = parser.parse_args()
    if platform.machine() != "x86_64":
        print(f"portable: nothing to compare, as this processor is of another type ({platform.machine()})")
        return
    try:
        expected = json.loads(FILE.read_bytes())
        names = arguments.recipes or [name for name in expected if name == "digits" or uses_cifar10()]
        expected = {name: dict(expected[name]) for name in names} if not arguments.write else expected
    except BROKEN as error:
        raise UserError(f"{FILE}: {error}") from None
    for name in names:
        print(f"portable: {name}", flush=True)
        found = outputs(name)
        if arguments.write:
            expected[name] = found
            write_atomically(FILE, json.dumps(expected, indent=2).encode() + b"\n")
        elif not print_same(found, expected[name]):
            raise UserError(
                f"not the bytes of {FILE}; if the code or a library has changed, record them: "
                "python -m tools.portable --write"
            )


def uses_cifar10() -> bool:
    return bool(load_params(Path("params.yaml").read_bytes())["dataset"] == "cifar10")


def outputs(recipe: str) -> dict[str, str]:
    """Run a recipe up to evaluate. Return the md5 of each output, by its path."""

    def prepare(copy: Path) -> None:
        params = copy / "params.yaml"
        params.write_text(edited(params.read_text(encoding="utf-8"), recipes()[recipe] | CHANGES), encoding="utf-8")
        (copy / "dvc.lock").unlink(missing_ok=True)  # only what runs now is in it afterwards

    with run_in_copy(prepare, "evaluate") as copy:
        return read(copy)[0]


if __name__ == "__main__":
    run_tool("portable", main)
