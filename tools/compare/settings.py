"""Group runs that differ in the seed alone into settings, and compute their differences with standard errors."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev, variance
from typing import Any, NamedTuple

from cifar10.core.params import MACHINE
from tools.compare.runs import Run
from tools.params_editor import as_yaml
from tools.recipe import recipes


class Difference(NamedTuple):
    value: float
    error: float | None  # the standard error
    of: str  # what it was computed from


class Setting(NamedTuple):
    label: str
    params: dict[str, Any]
    runs: list[Run]
    is_base: bool

    def values(self, number: str) -> dict[int, float]:
        """Return a number by seed, or nothing if a run lacks it or if times are of different machines."""
        mixed = number == "seconds_per_epoch" and len({run.speed for run in self.runs}) > 1
        if mixed or not all(number in run.numbers for run in self.runs):
            return {}
        return {run.params["seed"]: run.numbers[number] for run in self.runs}


def varied(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that make the setting. What came of the machine's choices is in metrics/run.json."""
    return {name: value for name, value in params.items() if name not in {"seed", *MACHINE}}


def settings(runs: Sequence[Run], base: dict[str, Any]) -> list[Setting]:
    """Return one for each set of parameters, named by its recipe or by what differs from the base."""
    groups = dict[frozenset[Any], list[Run]]()
    for run in sorted(runs, key=lambda run: int(run.params["seed"])):
        groups.setdefault(frozenset(varied(run.params).items()), []).append(run)
    every = [varied(group[0].params) for group in groups.values()]
    names = dict.fromkeys(name for params in every for name in params)
    varies = [name for name in names if len({params.get(name) for params in every}) > 1]
    by_recipe, found = [(name, varied(recipe)) for name, recipe in recipes().items()], []
    for params, group in zip(every, groups.values(), strict=True):
        named = [name for name in names if params.get(name) != base.get(name)]
        if base not in every and varies:
            named = varies  # the base is none of the rows, so what differs from it says little
        text = ", ".join(f"{name} {as_yaml(params.get(name))}" for name in named)
        label = next((name for name, recipe in by_recipe if recipe == params), "base" if params == base else text)
        found.append(Setting(label, params, group, params == base))
    return found


def difference(one: Mapping[int, float], base: Mapping[int, float]) -> Difference | None:
    """Return how much higher `one` is, both by seed, paired if they share seeds, which have splits of their own."""
    pairs = [value - base[seed] for seed, value in one.items() if seed in base]
    if not one or not base:
        return None
    if len(pairs) > 1:
        return Difference(mean(pairs), stdev(pairs) / sqrt(len(pairs)), f"{len(pairs)} pairs")
    apart, of = mean(one.values()) - mean(base.values()), f"{len(one)} and {len(base)} runs"
    if len(one) > 1 and len(base) > 1:
        return Difference(apart, sqrt(variance(one.values()) / len(one) + variance(base.values()) / len(base)), of)
    return Difference(pairs[0], None, "1 pair") if pairs else Difference(apart, None, of)
