"""Say what each number of a search did: its slope in a linear fit, its importance, and a plot of all trials."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifar10.drawing.png import BLUE, ORANGE, png
from tools.compare.settings import Setting

LEAST, EACH = 12, 4  # settings in all, and for each number that varies; with fewer, a fit says little


class Effect(NamedTuple):
    name: str
    low: float
    high: float
    log: bool
    slope: float  # change of the accuracy over the whole range
    error: float  # its standard error
    importance: float | None  # 0...1 by Optuna; None if it is not installed


def searched(found: Sequence[Setting]) -> list[Setting]:
    """Return the largest group of settings that differ in nothing but numbers of which there are more than two."""
    ranges = {name for name, values in _numbers(found).items() if len(set(values)) > 2}
    groups = defaultdict[frozenset[Any], list[Setting]](list)
    for setting in found:
        groups[frozenset(item for item in setting.params.items() if item[0] not in ranges)].append(setting)
    return max(groups.values(), key=len)


def effects(found: Sequence[Setting], by: str) -> list[Effect]:
    """Fit the mean of `by` to all numbers that vary, each from 0 to 1 over its range. Return [] if too few settings."""
    ranges = _numbers(found)
    if not ranges or len(found) < max(LEAST, EACH * len(ranges) + 1):
        return []
    logs = {name: _logarithmic(np.array(values)) for name, values in ranges.items()}
    columns = [np.log10(values) if logs[name] else np.array(values) for name, values in ranges.items()]
    scaled = [(column - column.min()) / (column.max() - column.min()) for column in columns]
    design = np.column_stack([np.ones(len(found)), *scaled])
    target = np.array([mean(setting.values(by).values()) for setting in found])
    fit, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    if rank < design.shape[1]:  # two numbers vary together
        return []
    residual = target - design @ fit
    variance = residual @ residual / (len(found) - len(fit))
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    important = _importance(ranges, logs, target)
    made = [
        Effect(name, min(values), max(values), logs[name], float(slope), float(error), important.get(name))
        for (name, values), slope, error in zip(ranges.items(), fit[1:], errors[1:], strict=True)
    ]
    return sorted(made, key=lambda effect: -abs(effect.slope))


def _logarithmic(values: NDArray[np.float64]) -> bool:
    """Return whether the values were drawn from a logarithmic range: on which scale is their median in the middle?"""
    if values.min() <= 0:
        return False

    def off(scaled: NDArray[np.float64]) -> float:
        return float(abs(2 * np.median(scaled) - scaled.min() - scaled.max()) / (scaled.max() - scaled.min()))

    return off(np.log10(values)) < off(values) - 0.1


def _numbers(found: Sequence[Setting]) -> dict[str, list[float]]:
    """Return the values of each number that is not the same in all settings."""
    names = [name for name, value in found[0].params.items() if type(value) in (int, float)]
    values = {name: [setting.params.get(name) for setting in found] for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1 and None not in each}  # type: ignore[misc]


def _importance(ranges: dict[str, list[float]], logs: dict[str, bool], target: Any) -> dict[str, float]:
    """Return Optuna's importance (fANOVA) of each number."""
    try:
        import optuna
    except ModuleNotFoundError:
        return {}
    make = optuna.distributions.FloatDistribution
    space = {name: make(min(values), max(values), log=logs[name]) for name, values in ranges.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for i, value in enumerate(target):
        params = {name: float(values[i]) for name, values in ranges.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=dict(space), value=float(value)))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with suppress(RuntimeError):  # all trials are equal
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    return {}


def draw_effects(found: Sequence[Setting], by: str, made: Sequence[Effect]) -> bytes:
    """Return a PNG: all settings over each number, with the line of the fit's slope."""
    return png(lambda: _figure(found, by, made))


def _figure(found: Sequence[Setting], by: str, made: Sequence[Effect]) -> Figure:
    columns = min(3, len(made))
    rows = -(-len(made) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    target = [100 * mean(setting.values(by).values()) for setting in found]
    for axis, effect in zip(axes.flat, made, strict=False):
        values = [float(setting.params[effect.name]) for setting in found]
        axis.plot(values, target, "o", color=BLUE, ms=4, mec="white", mew=0.5)
        middle, half = mean(target), 50 * effect.slope
        axis.plot([effect.low, effect.high], [middle - half, middle + half], color=ORANGE, linewidth=1.5)
        if effect.log:
            axis.set_xscale("log")
        axis.set_xlabel(effect.name)
        axis.grid(color="0.93")
    for axis in axes.flat[len(made) :]:
        axis.set_axis_off()
    for row in axes:
        row[0].set_ylabel(f"{by.replace('_', ' ')} (%)")
    return figure


def columns_of(made: Sequence[Effect], by: str) -> dict[str, list[str]]:
    """Return the table of effects, by heading."""
    columns = {
        "parameter": [effect.name for effect in made],
        "range": [f"{effect.low:g} to {effect.high:g}{', log' if effect.log else ''}" for effect in made],
        f"{by.replace('_', ' ')} over it, points": [
            f"{100 * effect.slope:+.2f} ± {100 * effect.error:.2f}" for effect in made
        ],
        "importance": ["" if effect.importance is None else f"{effect.importance:.2f}" for effect in made],
    }
    return {heading: texts for heading, texts in columns.items() if any(texts)}
