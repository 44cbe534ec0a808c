"""make same COMMIT=HEAD: check that the working tree writes the same bytes as a commit.

Both run the pipeline on a few digits, each variant below once. What differs is printed; a refactor changes nothing.
"""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml.error import YAMLError

from cifar10.core.errors import UserError
from cifar10.core.files import file_digest
from tools.params_editor import edited
from tools.repository import copy_commit, copy_working_tree, running_python
from tools.start import argument_parser, run_tool

CPU = "device: cpu\nprecision: fp32\nthreads: 1\nworkers: 0\n"  # what a recipe leaves to the machine
TINY = {"dataset": "digits", "validation_size": 1000, "batch_size": 32, "epochs": 2, "tta": "flip+shift"}
VARIANTS: dict[str, dict[str, object]] = {
    "muon": {},
    "sgd": {"optimizer": "sgd", "schedule": "step", "step.step_size": 1, "augmentation.flip": "random"},
    "adam": {"optimizer": "adam", "lr": 0.002, "schedule": "plateau", "augment_with": "albumentations"},
    "dropout": {"dropout": 0.1, "ema": 0},
    "dense": {"execution": "dense", "validation_size": 0},
}

# In one process, as importing torch takes longer than each training: the stages run as `python -m` runs them.
RUN = """
import runpy, shutil, sys, yaml
stages = list(yaml.safe_load(open("dvc.yaml", encoding="utf-8"))["stages"])
for variant in sys.argv[1:]:
    shutil.copy(f"{variant}.yaml", "params.yaml")
    for stage in stages:
        runpy.run_module(f"stages.{stage}", run_name="__main__")
    stages = [name for name in stages if name not in ("download", "compute_stats")]  # the data is there
    for folder in ("data", "models", "metrics", "plots"):
        shutil.copytree(folder, f"outputs/{variant}/{folder}")
"""


def write_variants(name: str, folder: Path) -> None:
    """Write the parameters of the variants into a copy of the repository. Raise UserError if it has others."""
    for results in ("metrics", "plots"):  # as committed
        shutil.rmtree(folder / results, ignore_errors=True)
    try:
        params = (folder / "recipes/default.yaml").read_text(encoding="utf-8") + CPU
        for variant, changes in VARIANTS.items():
            (folder / f"{variant}.yaml").write_text(edited(params, TINY | changes), encoding="utf-8")
    except (OSError, KeyError, YAMLError) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else "cannot be read"
        reason = "is not there" if isinstance(error, FileNotFoundError) else reason
        next_step = "name a later commit, or: git restore recipes"
        raise UserError(f"{name} cannot be compared: its recipes/default.yaml {reason}; {next_step}") from None


def outputs(folder: Path) -> dict[str, str]:
    """Return the sha256 of every output except metrics/run.json."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: file_digest(path) for name, path in sorted(files.items()) if not name.endswith("metrics/run.json")}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD")
    commit = parser.parse_args().commit
    with TemporaryDirectory(prefix="same-") as temporary:
        before, after = Path(temporary, "before"), Path(temporary, "after")
        copy_commit(commit, before)
        copy_working_tree(after)
        folders = {commit: before, "the working tree": after}
        for name, folder in folders.items():
            write_variants(name, folder)
        with ExitStack() as stack:
            runs = {
                name: stack.enter_context(running_python(folder, "-c", RUN, *VARIANTS))
                for name, folder in folders.items()
            }
            for name, run in runs.items():
                if run.wait():
                    print((folders[name] / "log").read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
                    raise UserError(f"{name} failed, see above")
        old, new = outputs(before / "outputs"), outputs(after / "outputs")
    differ = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if differ:
        raise UserError(f"{len(differ)} of {len(old)} files are not as {commit} writes them: {', '.join(differ)}")
    print(f"same: all {len(old)} files of {len(VARIANTS)} variants are as {commit} writes them")


if __name__ == "__main__":
    run_tool("same", main)
