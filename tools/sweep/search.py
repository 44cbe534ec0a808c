"""Search settings with Optuna, in rounds: each is proposed from the results of all rounds before it.

So the same command proposes the same trials, in whatever order they end. The study is kept nowhere: a command that is
started again proposes each round again, and finds the experiments that are there.
"""

import math
import re
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any, NamedTuple

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from cifar10.core.errors import UserError
from cifar10.core.params import EVALUATION, SPEED, Params
from tools.sweep.plan import Values, axes, grid, is_range, whole_number

ROUND = 8  # trials that are proposed together; TPE learns from those before them
Distribution = Any  # Optuna's Categorical-, Float- or IntDistribution; it may not be installed where types are checked
SAMPLERS = ("tpe", "random")
OBJECTIVES = {"validation_accuracy": "maximize", "validation_loss": "minimize"}


class Space(NamedTuple):
    distributions: dict[str, Distribution]
    seeds: list[Values]  # [{"seed": "0"}, {"seed": "1"}]: the objective is the mean over them; [{}] if none is named


class Found(NamedTuple):
    values: Values
    objective: float | None  # None if the trial failed, because it diverged for example


def checked(trials: str, sampler: str, objective: str) -> int:
    """Return the number of trials. Raise UserError if an argument is not allowed."""
    if sampler not in SAMPLERS:
        raise UserError(f"SAMPLER must be {' or '.join(SAMPLERS)} (got {sampler})")
    if objective not in OBJECTIVES:
        why = "; if settings are chosen by the test split, it no longer says how good the choice is"
        allowed = " or ".join(OBJECTIVES)
        raise UserError(f"OBJECTIVE must be {allowed} (got {objective}){why * ('validation' not in objective)}")
    return whole_number("TRIALS", trials, 10_000)


def space(words: Sequence[str]) -> Space:
    """Return what the words allow: lr=0.05..0.5:log, optimizer=sgd,muon, seed=0,1. Raise UserError if one is wrong."""
    choices = axes(word for word in words if not is_range(word))
    distributions: dict[str, Distribution] = {}
    for word in words:
        key = word.partition("=")[0]
        if key in distributions or (is_range(word) and key in choices):
            raise UserError(f"{key}: given twice; name it once")
        if is_range(word):
            distributions[key] = _range(word)
        elif key in EVALUATION | SPEED:
            raise UserError(f"{key}: does not change the training; leave it out")
        elif key != "seed":
            distributions[key] = CategoricalDistribution(choices[key])
    if "seed" in distributions:
        raise UserError("seed: has no range; name the seeds whose mean counts: seed=0,1")
    return Space(distributions, grid(word for word in words if word.startswith("seed=")))


def _range(word: str) -> Distribution:
    key, _, text = word.partition("=")
    kind = _kind(key)
    if kind not in (int, float):
        raise UserError(f"{word}: {key} has no range; name its values: {key}=A,B")
    number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
    found = re.fullmatch(rf"({number})\.\.({number})(:log)?", text, re.IGNORECASE)
    if not found:
        raise UserError(f"{word}: write a range like this: {key}=1..10, or {key}=1..10:log")
    log = bool(found[3])
    try:
        low, high = kind(found[1]), kind(found[2])
    except ValueError:
        raise UserError(f"{word}: {key} is a whole number, so its range needs two of them") from None
    if low >= high:
        raise UserError(f"{word}: the first number must be less than the second")
    if log and low <= 0:
        raise UserError(f"{word}: a logarithmic range must begin above 0")
    return IntDistribution(low, high, log=log) if kind is int else FloatDistribution(low, high, log=log)


def _kind(key: str) -> Any:
    """Return the type of a parameter. Raise UserError if there is none of that name."""
    group: Any = Params
    for name in key.split("."):
        fields = getattr(group, "model_fields", {})
        if name not in fields:
            raise UserError(f"'{key}' is no parameter; params.yaml lists them")
        group = fields[name].annotation
    return group


def ends(wanted: Space) -> list[Values]:
    """Return settings with every choice and both ends of every range, to have them checked."""
    values = {
        key: each.choices if isinstance(each, CategoricalDistribution) else (str(each.low), str(each.high))
        for key, each in wanted.distributions.items()
    }
    most = max(map(len, values.values()))
    return [{key: each[min(i, len(each) - 1)] for key, each in values.items()} for i in range(most)]


def _text(value: Any, of: Distribution) -> str:
    """Return a value as the command line has it, rounded to a thousandth of its range, which keeps names short."""
    if not isinstance(of, FloatDistribution):
        return str(value)
    places = 3 - math.floor(math.log10(value if of.log else of.high - of.low))
    return f"{min(max(round(value, places), of.low), of.high):.10g}"


def search(
    wanted: Space, trials: int, sampler: str, objective: str, run: Callable[[Sequence[Values]], Sequence[float | None]]
) -> list[Found]:
    """Return all trials, the best first. `run` returns the objective of each setting, None if it failed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, found = optuna.create_study(direction=OBJECTIVES[objective]), list[Found]()
    for first in range(0, trials, ROUND):
        # The seed of the sampler is the number of the round's first trial, so the sampler needs no memory.
        if sampler == "random":
            study.sampler = optuna.samplers.RandomSampler(seed=first)
        else:
            study.sampler = optuna.samplers.TPESampler(seed=first, constant_liar=True)
        asked = [study.ask(wanted.distributions) for _ in range(min(ROUND, trials - first))]
        settings = [{key: _text(trial.params[key], of) for key, of in wanted.distributions.items()} for trial in asked]
        for trial, values, value in zip(asked, settings, run(settings), strict=True):
            study.tell(trial, value, TrialState.FAIL if value is None else TrialState.COMPLETE)
            found.append(Found(values, value))
    sign = -1 if OBJECTIVES[objective] == "maximize" else 1
    return sorted(found, key=lambda each: (each.objective is None, sign * (each.objective or 0.0)))


def with_seeds(settings: Sequence[Values], seeds: Sequence[Values]) -> list[Values]:
    """Return each setting once for each seed; of equal settings only one."""
    different = {tuple(values.items()): values for values in settings}.values()
    return [values | seed for values in different for seed in seeds]


def means(settings: Sequence[Values], seeds: Sequence[Values], found: Sequence[float | None]) -> list[float | None]:
    """Return the mean over the seeds of each setting, None if one has failed. `found` is in the order of with_seeds."""
    every, found_means = with_seeds(settings, seeds), list[float | None]()
    for values in settings:
        numbers = [found[every.index(values | seed)] for seed in seeds]
        succeeded = [number for number in numbers if number is not None]
        found_means.append(mean(succeeded) if len(succeeded) == len(seeds) else None)
    return found_means
