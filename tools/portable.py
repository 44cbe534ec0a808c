"""make portable: check that this processor computes the bits of release/portable.json, as any x86-64 processor must.

With `precision: portable`, each recipe there runs for a few epochs in a copy of the working tree. A change of the code
or of a library may change these bits: --write records them again.
"""

import json
import platform
from pathlib import Path

from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from tools.params_editor import edited
from tools.recipe import overrides
from tools.records import BROKEN, workspace_params
from tools.start import argument_parser, run_tool
from tools.verify import print_same, read, run_in_copy

FILE = Path("release/portable.json")
REPAIR = "record them: python -m tools.portable --write digits default"
CHANGES = {"precision": "portable", "device": "auto", "threads": "auto", "workers": "auto", "epochs": 2}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("recipes", nargs="*", help="otherwise digits and, unless params.yaml has other data, default")
    parser.add_argument("--write", action="store_true", help="record what this processor computes")
    arguments = parser.parse_args()
    if platform.machine() != "x86_64":
        print(f"portable: nothing to compare, as this processor is of another type ({platform.machine()})")
        return
    text, params = workspace_params()
    names = arguments.recipes or ["digits", *(["default"] if params.dataset == "cifar10" else [])]
    texts = {name: edited(text, overrides(name, "0") | CHANGES) for name in names}
    expected = recorded() if FILE.exists() or not arguments.write else {}
    if not arguments.write and (missing := texts.keys() - expected.keys()):
        raise UserError(f"{FILE}: has no {', '.join(sorted(missing))}; {REPAIR}")
    if not arguments.recipes and len(names) == 1:
        print("portable: digits alone, as params.yaml has other data than cifar10", flush=True)
    for name, changed in texts.items():
        print(f"portable: {name}", flush=True)
        found = outputs(changed)
        if arguments.write:
            expected[name] = found
            write_atomically(FILE, json.dumps(expected, indent=2).encode() + b"\n")
        elif not print_same(found, expected[name]):
            raise UserError(f"not the bytes of {FILE}; if the code or a library has changed, {REPAIR}")


def recorded() -> dict[str, dict[str, str]]:
    try:
        return {str(recipe): dict(outs) for recipe, outs in json.loads(FILE.read_bytes()).items()}
    except BROKEN as error:
        raise UserError(f"{FILE}: cannot be read: {error}; git restore {FILE}") from None


def outputs(params: str) -> dict[str, str]:
    """Run the pipeline with this params.yaml up to evaluate. Return the md5 of each output, by its path."""

    def prepare(copy: Path) -> None:
        (copy / "params.yaml").write_text(params, encoding="utf-8")
        (copy / "dvc.lock").unlink(missing_ok=True)  # only what runs now is in it afterwards

    with run_in_copy(prepare, "evaluate") as copy:
        return read(copy)[0]


if __name__ == "__main__":
    run_tool("portable", main)
