"""make sweep GRID='lr=0.05,0.1 seed=0,1,2': run many experiments on Ray, each on a core, a GPU or a share of one.

Every combination of the values runs once, on top of the parameters of the workspace or of --recipe. A sweep that was
stopped, or has failed in part, is started again by the same command: only what is missing runs. Without --address it
runs on this machine; with it, on a Ray cluster, whose machines clone `origin` and use the committed DVC remote.

With a range, such as lr=0.05..0.5:log, it is a search: --trials settings are tried, each with every seed that is named.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from cifar10.core.errors import UserError
from tools.recipe import overrides
from tools.records import BROKEN, experiment_refs, removal, workspace_params
from tools.repository import blobs
from tools.start import argument_parser, run_tool
from tools.sweep.plan import Experiment, Values, grid, is_range, plan, rows, whole_number
from tools.sweep.refs import arrived, clean_commit, digest, published

DIVERGED = "no network was written"  # which train says if the loss is not finite


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "grid", nargs="*", help="a parameter and its values, lr=0.05,0.1, or its range, lr=0.05..0.5:log"
    )
    parser.add_argument("--recipe", help="set every parameter as in recipes/RECIPE.yaml first")
    parser.add_argument("--file", type=Path, help="a CSV file: its header names parameters, each row is a setting")
    parser.add_argument("--address", help="of a Ray cluster: auto, or host:port")
    parser.add_argument("--per-gpu", default="1", help="how many experiments share a GPU")
    parser.add_argument("--trials", help="of a search: how many settings to try")
    parser.add_argument(
        "--sampler", default="tpe", help="of a search: tpe, which learns from what was tried, or random"
    )
    parser.add_argument("--objective", default="validation_accuracy", help="of a search: or validation_loss")
    parser.add_argument("--dry-run", action="store_true", help="list the experiments; run none")
    arguments = parser.parse_args()
    if not arguments.grid and not arguments.file:
        raise UserError("name the values to try: make sweep GRID='lr=0.05,0.1 seed=0,1,2'")
    searches = any(map(is_range, arguments.grid))
    if searches != bool(arguments.trials):
        raise UserError("a search needs both, ranges and a number of trials: make sweep GRID='lr=0.05..0.5' TRIALS=40")
    run = search_settings if searches else run_settings
    try:
        run(Sweep(arguments), arguments)
    except ModuleNotFoundError as error:
        if error.name not in ("ray", "optuna"):
            raise
        raise UserError(f"{error.name.title()} is not installed; install it: make setup-cluster") from None


class Sweep:
    """Run experiments on top of a recipe, on top of the workspace's parameters, unless they are there already."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.commit, self.address, self.dry_run = clean_commit(arguments.file), arguments.address, arguments.dry_run
        self.per_gpu = whole_number("PER_GPU", arguments.per_gpu, 100)
        self.recipe = overrides(arguments.recipe, "0") if arguments.recipe else {}
        self.workspace, _ = workspace_params()
        self.url = published(self.commit) if self.address else str(Path.cwd())

    def plan(self, settings: Sequence[Values]) -> list[Experiment]:
        return plan(self.commit, self.workspace, self.recipe, settings)

    def run(self, experiments: Sequence[Experiment]) -> dict[str, str]:
        """Return why each failed one did, by its name."""
        there = arrived(self.commit, {each.name for each in experiments}, fetch=bool(self.address))
        missing = [each for each in experiments if each.name not in there]
        print(f"sweep: {len(experiments)} experiments, {len(there)} of them are there already", flush=True)
        if self.dry_run:
            print(*(f"{'there  ' if each.name in there else 'missing'}  {each.name}" for each in experiments), sep="\n")
        if self.dry_run or not missing:
            return {}
        from tools.sweep.hub import run_experiments  # needs Ray

        return run_experiments(missing, self.commit, self.url, self.address, self.per_gpu)

    def numbers(self, experiments: Sequence[Experiment], key: str) -> dict[str, float]:
        """Return a number of metrics/train.json of each experiment that is there, by the experiment's name."""
        refs = {digest(ref.name): ref.commit for ref in experiment_refs() if ref.base == self.commit}
        names = [each.name for each in experiments if digest(each.name) in refs]
        contents = blobs([f"{refs[digest(name)]}:./metrics/train.json" for name in names])
        found = dict[str, float]()
        for name, content in zip(names, contents, strict=True):
            try:
                found[name] = json.loads(content or b"{}")[key]
            except BROKEN:
                raise UserError(f"{name}: has no {key}; remove it: {removal(name)}, and try again") from None
        return found


def run_settings(sweep: Sweep, arguments: argparse.Namespace) -> None:
    settings = rows(arguments.file) if arguments.file else [{}]
    axes = grid(arguments.grid)
    if both := settings[0].keys() & axes[0].keys():
        raise UserError(f"{', '.join(sorted(both))}: in {arguments.file} and on the command line; name it once")
    experiments = sweep.plan([row | values for row in settings for values in axes])
    if failed := len(sweep.run(experiments)):
        raise UserError(f"{failed} of {len(experiments)} experiments failed, see above; the same command tries again")
    if not sweep.dry_run:
        print("sweep: all are there; next: make compare, or dvc exp show")


def search_settings(sweep: Sweep, arguments: argparse.Namespace) -> None:
    from tools.sweep import search  # needs Optuna

    trials = search.checked(arguments.trials, arguments.sampler, arguments.objective)
    if arguments.file:
        raise UserError("FILE names settings, so it does not go with ranges; name all of them in GRID")
    wanted = search.space(arguments.grid)
    if not all(each.params["validation_size"] for each in sweep.plan(search.ends(wanted))):
        said = "a search chooses by the validation split, so validation_size must be > 0 (got 0)"
        raise UserError(f"{said}; name it in GRID: validation_size=5000")

    def run(settings: Sequence[Values]) -> list[float | None]:
        experiments = sweep.plan(search.with_seeds(settings, wanted.seeds))
        if others := [name for name, why in sweep.run(experiments).items() if DIVERGED not in why]:
            # Told as failed, they would lead to other trials than the same command proposes when they have succeeded.
            raise UserError(f"{len(others)} experiments failed, see above; the same command tries again")
        numbers = sweep.numbers(experiments, arguments.objective)
        return search.means(settings, wanted.seeds, [numbers.get(each.name) for each in experiments])

    if sweep.dry_run:
        trials = min(trials, search.ROUND)
        print(f"sweep: the first {trials} trials; later ones depend on their results")
    found = search.search(wanted, trials, arguments.sampler, arguments.objective, run)
    if sweep.dry_run:
        return
    succeeded = [each for each in found if each.objective is not None]
    print(f"sweep: {trials} trials, {trials - len(succeeded)} failed; the best by {arguments.objective}:")
    for each in succeeded[:3]:
        print(f"  {each.objective:.4f}  {' '.join(f'{key}={value}' for key, value in each.values.items())}")
    print("sweep: next, what each setting did: make compare")


if __name__ == "__main__":
    run_tool("sweep", main)
