"""make sweep with ranges: proposals that follow from the results alone, refusals, what make compare says of it."""

import json
import math
import re
from argparse import Namespace
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from cifar10.core.errors import UserError
from tools.compare.effects import columns_of, draw_effects, effects, searched
from tools.compare.runs import Run
from tools.compare.settings import Setting
from tools.sweep.plan import Experiment, Values, is_range

optuna = pytest.importorskip("optuna", reason="make setup-cluster installs it")

from tools.sweep import search  # noqa: E402 # needs Optuna
from tools.sweep.__main__ import search_settings  # noqa: E402
from tools.sweep.search import checked, ends, means, space, with_seeds  # noqa: E402

WORDS = ["lr=0.05..0.5:log", "muon.momentum=0.85..0.97", "augmentation.hole_size=4..12"]
WORDS += ["optimizer=sgd,muon", "seed=0,1"]


def quality(values: Values) -> float:
    """Best at lr 0.2 and momentum 0.9."""
    return 1 - abs(math.log10(float(values["lr"]) / 0.2)) - abs(float(values["muon.momentum"]) - 0.9)


def run_all(settings: Sequence[Values]) -> list[float | None]:
    return [quality(values) for values in settings]


def test_the_space_has_the_types_of_the_schema() -> None:
    wanted = space(WORDS)
    assert wanted.seeds == [{"seed": "0"}, {"seed": "1"}]
    lr, momentum, hole, optimizer = wanted.distributions.values()
    assert (lr.log, momentum.log, hole.log) == (True, False, False)
    assert isinstance(hole, optuna.distributions.IntDistribution)
    assert optimizer.choices == ("sgd", "muon")
    assert ends(wanted) == [
        {"lr": "0.05", "muon.momentum": "0.85", "augmentation.hole_size": "4", "optimizer": "sgd"},
        {"lr": "0.5", "muon.momentum": "0.97", "augmentation.hole_size": "12", "optimizer": "muon"},
    ]
    (*_, last) = ends(space(["lr=0.1..1", "optimizer=sgd,muon,misspelt"]))
    assert last == {"lr": "1.0", "optimizer": "misspelt"}
    assert [is_range(word) for word in ("lr=1e-5..1", "lr=0.1,0.2", "a..b=1")] == [True, False, False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr=0.5..0.1"], "lr=0.5..0.1: the first number must be less than the second"),
        (["lr=0.1..0.1"], "lr=0.1..0.1: the first number must be less than the second"),
        (["lr=0..1:log"], "lr=0..1:log: a logarithmic range must begin above 0"),
        (["lr=-1..1:log"], "lr=-1..1:log: a logarithmic range must begin above 0"),
        (["lr=a..b"], "lr=a..b: write a range like this: lr=1..10, or lr=1..10:log"),
        (["lr=0.1..0.2:lin"], "lr=0.1..0.2:lin: write a range like this: lr=1..10, or lr=1..10:log"),
        (["lr=0.1..0.2,0.5"], "lr=0.1..0.2,0.5: write a range like this: lr=1..10, or lr=1..10:log"),
        (["rl=0.1..0.2"], "'rl' is no parameter; params.yaml lists them"),
        (["muon.x=0.1..0.2"], "'muon.x' is no parameter; params.yaml lists them"),
        (["lr.x=0.1..0.2"], "'lr.x' is no parameter; params.yaml lists them"),
        (["optimizer=a..b"], "optimizer=a..b: optimizer has no range; name its values: optimizer=A,B"),
        (["nesterov=0..1"], "nesterov=0..1: nesterov has no range; name its values: nesterov=A,B"),
        (["threads=1..2"], "threads=1..2: threads has no range; name its values: threads=A,B"),
        (["muon=0..1"], "muon=0..1: muon has no range; name its values: muon=A,B"),
        (["epochs=1.5..3"], "epochs=1.5..3: epochs is a whole number, so its range needs two of them"),
        (["lr=0.1..0.2", "lr=0.3..0.4"], "lr: given twice; name it once"),
        (["lr=0.1..0.2", "lr=0.3,0.4"], "lr: given twice; name it once"),
        (["lr=0.1..0.2", "tta=none,flip"], "tta: does not change the training; leave it out"),
        (["seed=0..9"], "seed: has no range; name the seeds whose mean counts: seed=0,1"),
        (["lr=0.1..0.2", "seed"], "seed: write a parameter and its values like this: lr=0.05,0.1"),
    ],
)
def test_a_wrong_range_is_one_line(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        space(words)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("many", "tpe", "validation_loss"), "TRIALS must be a whole number from 1 to 10000 (got many)"),
        (("3", "grid", "validation_loss"), "SAMPLER must be tpe or random (got grid)"),
        (
            ("3", "tpe", "accuracy"),
            "OBJECTIVE must be validation_accuracy or validation_loss (got accuracy); if settings are chosen by the "
            "test split, it no longer says how good the choice is",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(arguments: tuple[str, str, str], said: str) -> None:
    with pytest.raises(UserError) as error:
        checked(*arguments)
    assert str(error.value) == said
    assert checked("3", "random", "validation_loss") == 3


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_results_give_the_same_trials(sampler: str) -> None:
    """Started again, and killed in between: a trial follows from the results of the rounds before it."""
    runs = list[list[Sequence[Values]]]()
    for _ in range(2):
        run = Mock(side_effect=run_all)
        found = search.search(space(WORDS), 20, sampler, "validation_accuracy", run)
        runs.append(rounds := [each.args[0] for each in run.call_args_list])
        assert [len(settings) for settings in rounds] == [8, 8, 4]
        values = [each.objective for each in found]
        assert len(values) == 20
        assert values == sorted(values, key=lambda value: -(value or 0))
        for each in found:
            assert 0.05 <= float(each.values["lr"]) <= 0.5
            assert 0.85 <= float(each.values["muon.momentum"]) <= 0.97
            assert each.values["augmentation.hole_size"] in map(str, range(4, 13))
            assert all(len(value) <= 7 for value in each.values.values())
    assert runs[0] == runs[1]
    assert len({json.dumps(each) for settings in runs[0] for each in settings}) == 20


def test_tpe_learns_and_a_failed_trial_is_no_result() -> None:
    def half(settings: Sequence[Values]) -> list[float | None]:
        """Those with a high rate diverge."""
        return [quality(values) if float(values["lr"]) < 0.3 else None for values in settings]

    found = search.search(space(WORDS), 40, "tpe", "validation_accuracy", half)
    failed = [each for each in found if each.objective is None]
    assert failed
    assert found[-len(failed) :] == failed  # last
    assert all(float(each.values["lr"]) >= 0.3 for each in failed)
    guessed = search.search(space(WORDS), 40, "random", "validation_accuracy", run_all)
    mean = [np.mean([quality(each.values) for each in trials]) for trials in (found, guessed)]
    assert mean[0] > mean[1]
    lowest = search.search(space(WORDS), 8, "random", "validation_loss", run_all)
    assert lowest[0].objective == min(each.objective or 9 for each in lowest)


def test_the_objective_is_the_mean_of_all_seeds() -> None:
    settings: list[Values] = [{"lr": "0.1"}, {"lr": "0.2"}, {"lr": "0.1"}]
    seeds: list[Values] = [{"seed": "0"}, {"seed": "1"}]
    assert with_seeds(settings, seeds) == [{"lr": lr, "seed": seed} for lr in ("0.1", "0.2") for seed in ("0", "1")]
    assert means(settings, seeds, [0.8, 0.9, 0.7, None]) == [pytest.approx(0.85), None, pytest.approx(0.85)]
    assert space(["lr=0.1..0.2"]).seeds == [{}]  # no seed is named
    assert with_seeds(settings, [{}]) == settings[:2]
    assert means(settings, [{}], [None, 0.5]) == [None, 0.5, None]


def made_up() -> list[Setting]:
    """Accuracy rises by 4 points over the range of a, by 2 over a tenfold b, and c does nothing."""
    random, found = np.random.default_rng(0), list[Setting]()
    for i in range(40):
        a, b, c = random.uniform(0, 2), 10 ** random.uniform(-2, 0), int(random.integers(1, 9))
        value = 0.8 + 0.02 * a + 0.02 * np.log10(b) + random.normal(0, 0.001)
        params: dict[str, Any] = {"a": a, "b": b, "c": c, "fixed": 1, "word": "x", "switch": True}
        run = Run(f"r{i}", params | {"seed": 0}, {"validation_accuracy": value}, "", {}, ())
        found.append(Setting(f"s{i}", params, [run], False))
    return found


def test_what_each_setting_did() -> None:
    found = made_up()
    made = {effect.name: effect for effect in effects(found, "validation_accuracy")}
    assert list(made) == ["a", "b", "c"]  # the strongest first
    width = {name: made[name].high - made[name].low for name in made}
    assert made["a"].slope == pytest.approx(0.02 * width["a"], abs=4 * made["a"].error)
    assert made["b"].log
    decades = np.log10(made["b"].high / made["b"].low)
    assert made["b"].slope == pytest.approx(0.02 * decades, abs=4 * made["b"].error)
    assert abs(made["c"].slope) < 4 * made["c"].error
    assert 0 < made["a"].error < 0.002
    # Independently: numpy's own fit of one number, the others constant.
    alone = [Setting(s.label, {"a": s.params["a"]}, s.runs, False) for s in found]
    (only,) = effects(alone, "validation_accuracy")
    x = np.array([s.params["a"] for s in found])
    y = np.array([s.runs[0].numbers["validation_accuracy"] for s in found])
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    assert only.slope == pytest.approx(slope * (x.max() - x.min()))
    assert only.error == pytest.approx(covariance[0, 0] ** 0.5 * (x.max() - x.min()))
    importance = [effect.importance or 0 for effect in made.values()]
    assert sum(importance) == pytest.approx(1)
    assert importance[2] < 0.1
    table = columns_of(list(made.values()), "validation_accuracy")
    assert table["validation accuracy over it, points"][0].startswith(f"{100 * made['a'].slope:+.2f} ± ")
    assert draw_effects(found, "validation_accuracy", list(made.values())).startswith(b"\x89PNG")
    assert effects(found[:12], "validation_accuracy") == []  # too few for three numbers
    # What differs in something else as well, such as the default, takes no part.
    other = found[0]._replace(params=found[0].params | {"fixed": 2})
    assert searched([other, *found]) == found
    same = [s._replace(runs=[s.runs[0]._replace(numbers={"validation_accuracy": 0.5})]) for s in found]
    assert [effect.importance for effect in effects(same, "validation_accuracy")] == [None] * 3


class FakeSweep:
    """Runs nothing: its experiments succeed, but those of a rate above `most`, which fail for the reason `why`."""

    def __init__(self, most: float, why: str) -> None:
        self.most, self.why, self.dry_run, self.rounds = most, why, False, 0

    def plan(self, settings: Sequence[Values]) -> list[Experiment]:
        params = {"validation_size": 1000}
        return [Experiment(values["lr"], {}, params | {"lr": float(values["lr"])}) for values in settings]

    def run(self, experiments: Sequence[Experiment]) -> dict[str, str]:
        self.rounds += 1
        return {each.name: self.why for each in experiments if each.params["lr"] > self.most}

    def numbers(self, experiments: Sequence[Experiment], _: str) -> dict[str, float]:
        return {each.name: each.params["lr"] for each in experiments if each.params["lr"] <= self.most}


def test_a_trial_may_diverge_but_a_lost_machine_ends_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    """Told as failed, a trial whose machine was lost would lead to others than when it has succeeded."""
    arguments = Namespace(
        trials="16", sampler="tpe", objective="validation_accuracy", file=None, grid=["lr=0.05..0.5"], recipe=None
    )
    sweep: Any = FakeSweep(0.3, "error: train: the loss is no longer finite; no network was written; try a lower one")
    search_settings(sweep, arguments)
    assert sweep.rounds == 2
    said = capsys.readouterr().out
    assert re.search(r"sweep: 16 trials, [1-9]\d* failed; the best by validation_accuracy:\n  0\.[12]\d+  lr=0", said)
    sweep = FakeSweep(0.3, "a lost machine")
    with pytest.raises(UserError, match=r"^[1-9] experiments failed, see above; the same command tries again$"):
        search_settings(sweep, arguments)
    assert sweep.rounds == 1


def test_a_search_needs_a_validation_split() -> None:
    sweep: Any = FakeSweep(1, "")
    sweep.plan = lambda settings: [Experiment("a", {}, {"validation_size": 0}) for _ in settings]
    arguments = Namespace(trials="2", sampler="tpe", objective="validation_loss", file=None, grid=["lr=0.05..0.5"])
    with pytest.raises(UserError, match="chooses by the validation split, so validation_size must be > 0"):
        search_settings(sweep, arguments)
