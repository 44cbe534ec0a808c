"""make sweep GRID='lr=0.05,0.1 seed=0,1,2': run many experiments on Ray, each on a core or a GPU of its own.

Every combination of the values runs once, on top of the parameters of the workspace or of --recipe. A sweep that was
stopped, or has failed in part, is started again by the same command: only what is missing runs. Without --address it
runs on this machine; with it, on a Ray cluster, whose machines clone `origin` and use the committed DVC remote.
"""

import argparse
from pathlib import Path

from cifar10.core.errors import UserError
from tools.recipe import overrides
from tools.start import run_tool
from tools.sweep.plan import grid, plan, rows
from tools.sweep.refs import arrived, clean_commit, published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", nargs="*", help="a parameter and its values: lr=0.05,0.1")
    parser.add_argument("--recipe", help="set every parameter as in recipes/RECIPE.yaml first")
    parser.add_argument("--file", type=Path, help="a CSV file: its header names parameters, each row is a setting")
    parser.add_argument("--address", help="of a Ray cluster: auto, or host:port")
    parser.add_argument("--dry-run", action="store_true", help="list the experiments; run none")
    arguments = parser.parse_args()
    if not arguments.grid and not arguments.file:
        raise UserError("name the values to try: make sweep GRID='lr=0.05,0.1 seed=0,1,2'")
    commit = clean_commit(arguments.file)
    recipe = overrides(arguments.recipe, "0") if arguments.recipe else {}
    settings = rows(arguments.file) if arguments.file else [{}]
    axes = grid(arguments.grid)
    if both := settings[0].keys() & axes[0].keys():
        raise UserError(f"{', '.join(sorted(both))}: in {arguments.file} and on the command line; name it once")
    settings = [row | values for row in settings for values in axes]
    try:
        workspace = Path("params.yaml").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"params.yaml: cannot be read: {error}; git restore params.yaml") from None
    experiments = plan(commit, workspace, recipe, settings)
    url = published(commit) if arguments.address else str(Path.cwd())
    there = arrived(commit, {each.name for each in experiments}, fetch=bool(arguments.address))
    missing = [each for each in experiments if each.name not in there]
    print(f"sweep: {len(experiments)} experiments, {len(there)} of them are there already")
    if arguments.dry_run:
        print(*(f"{'there  ' if each.name in there else 'missing'}  {each.name}" for each in experiments), sep="\n")
        return
    if missing:
        try:
            from tools.sweep.hub import run_experiments
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise UserError("Ray is not installed; install it: make setup-cluster") from None
        if failed := run_experiments(missing, commit, url, arguments.address):
            raise UserError(f"{failed} of {len(missing)} experiments failed, see above; the same command tries again")
    print("sweep: all are there; next: make compare, or dvc exp show")


if __name__ == "__main__":
    run_tool("sweep", main)
