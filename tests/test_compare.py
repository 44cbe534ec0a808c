"""make compare: figures by hand, on experiments that are made up but complete; what it must not mix, it refuses."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import yaml
from ruamel.yaml import YAML

from cifar10.core.errors import UserError
from tests.clone import PARAMS, ROOT
from tests.repository import git, init
from tools.compare.__main__ import CSV, PLOT, compare
from tools.compare.plot import draw, figure, wrapped
from tools.compare.runs import find_runs
from tools.records import Yaml12, load_params
from tools.repository import blobs
from tools.show import show

BASE: dict[str, Any] = {**yaml.load(PARAMS, Yaml12), "dataset": "digits", "seed": 0, "epochs": 4, "lr": 0.2}
MACHINE = {"device": "cpu", "processor": "P", "system": "Linux", "instruction_set": "AVX2", "precision": "fp32"}
CODE = ("requirements.lock", "src/cifar10/core", "src/cifar10/network")
TRAIN_DEPS = (
    *CODE,
    "src/cifar10/training",
    "stages/train.py",
    "data/train",
    "data/start.safetensors",
    "metrics/dataset.json",
)
TEST_DEPS = (*CODE, "src/cifar10/evaluation", "data/test")
EVALUATED = {"accuracy": 0.8, "loss": 0.6, "tta_accuracy": 0.81, "calibration_error": 0.02}
MODEL = "models/model.safetensors"


def files(
    params: Mapping[str, Any],
    train: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    run: Mapping[str, Any],
    md5: Mapping[str, str],
    model: str,
) -> dict[str, bytes]:
    """What a run leaves in git, as far as it is read; without `test`, `evaluate` has scored another network."""
    whole_run = {"seconds": 8.0, "threads": 1, **MACHINE, **run}
    content = {"train": train, "run": whole_run, "test": test or {"accuracy": 0.1}}
    metrics = {f"metrics/{name}.json": json.dumps(values).encode() for name, values in content.items()}
    outs = {path: hashlib.md5(data).hexdigest() for path, data in metrics.items()}

    def entries(paths: Mapping[str, str]) -> list[dict[str, Any]]:
        return [{"path": path, "md5": of, "size": 1} for path, of in paths.items()]

    def stage(deps: tuple[str, ...], more: dict[str, str], made: dict[str, str], without: set[str]) -> dict[str, Any]:
        used = {key: value for key, value in params.items() if key not in without}
        read = {path: md5.get(path, "1") for path in deps if md5.get(path, "1")} | more
        return {"deps": entries(read), "params": {"params.yaml": used}, "outs": entries(made)}

    of_test = {"metrics/test.json": outs.pop("metrics/test.json")}
    stages = {
        "train": stage(TRAIN_DEPS, {}, outs | {MODEL: model}, {"workers", "tta"}),
        "evaluate": stage(TEST_DEPS, {MODEL: model if test else "another"}, of_test, {"workers", "seed"}),
    }
    lock = json.dumps({"schema": "2.0", "stages": stages}, sort_keys=True).encode()  # which is YAML as well
    return {"params.yaml": json.dumps(dict(params), sort_keys=True).encode(), "dvc.lock": lock} | metrics


class Repository:
    """A git repository with the refs that `dvc exp run` makes; HEAD has parameters and no results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "recipes").mkdir(parents=True)
        (path / "params.yaml").write_text(yaml.safe_dump(BASE))
        self.commit("refs/heads/main", {"params.yaml": yaml.safe_dump(BASE).encode()})
        self.head = git("rev-parse", "refs/heads/main")

    def commit(self, ref: str, content: Mapping[str, bytes], parent: str = "") -> None:
        stream = f"commit {ref}\ncommitter t <t@example.invalid> 0 +0000\ndata 0\n".encode()
        stream += f"from {parent}\n".encode() if parent else b""
        for path, data in content.items():
            stream += f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
        git("fast-import", "--quiet", "--force", data=stream)

    def experiment(
        self,
        name: str,
        accuracy: float | None = 0.9,
        test: Mapping[str, Any] | None = None,
        run: Mapping[str, Any] | None = None,
        md5: Mapping[str, str] | None = None,
        model: str = "",
        change: Mapping[str, bytes | None] | None = None,
        **params: Any,
    ) -> None:
        """As dvc exp run --name NAME -S ...; HEAD's own results where NAME is HEAD. `change` replaces files."""
        train = {"train_accuracy": 0.95, "train_loss": 0.1, "parameters": 7}
        if accuracy is not None:
            train |= {"validation_accuracy": accuracy, "validation_loss": 0.5}
        content = files(BASE | params, train, test, run or {}, md5 or {}, model or f"model of {name}")
        kept = {path: data for path, data in (content | dict(change or {})).items() if data is not None}
        if name == "HEAD":
            self.commit("refs/heads/main", kept, self.head)
            self.head = git("rev-parse", "refs/heads/main")
        else:
            self.commit(f"refs/exps/{self.head[:2]}/{self.head[2:]}/{name}", kept)

    def seeds(self, name: str, accuracies: Mapping[int, float], **params: Any) -> None:
        for seed, accuracy in accuracies.items():
            self.experiment(f"{name}-s{seed}", accuracy, seed=seed, **params)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    folder = tmp_path / "a folder"
    folder.mkdir()
    init(folder, monkeypatch)
    monkeypatch.setattr("tools.compare.__main__.draw", lambda *_: b"")  # test_figures draws
    return Repository(folder)


def rows(*patterns: str, base: str | None = None) -> dict[str, dict[str, str]]:
    """The lines of comparison.csv by setting, in their order."""
    compare(patterns, base)
    with CSV.open() as file:
        return {row["setting"]: row for row in csv.DictReader(file)}


def refused(*patterns: str, base: str | None = None) -> str:
    with pytest.raises(UserError) as error:
        compare(patterns, base)
    assert not CSV.exists()
    assert not PLOT.exists()
    return str(error.value)


def number(row: Mapping[str, str], *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def apart(row: Mapping[str, str], of: str = "validation_accuracy") -> tuple[Any, ...]:
    error = row[f"{of}_error"]
    return float(row[f"{of}_difference"]), float(error) if error else None, row[f"{of}_from"]


def test_figures(repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tools.compare.__main__.draw", draw)
    for seed, (accuracy, test, seconds) in enumerate([(0.90, 0.80, 8), (0.91, 0.82, 12), (0.92, 0.87, 16)]):
        scores = {"accuracy": test, "tta_accuracy": 0.9 + seed / 100, "calibration_error": 0.02}
        repository.experiment(f"a{seed}", accuracy, scores, {"seconds": seconds}, seed=seed)
    for seed, accuracy in ((0, 0.89), (1, 0.905), (2, 0.90)):
        repository.experiment(f"b{seed}", accuracy, EVALUATED, seed=seed, lr=0.05, muon=BASE["muon"] | {"lr_ratio": 1})
    found = rows()
    assert list(found) == ["base", "lr 0.05, muon.lr_ratio 1"]  # the best first
    base, other = found.values()
    assert (base["base"], other["base"]) == ("1", "0")
    assert (base["experiments"], base["seeds"], base["set_params"]) == ("a0 a1 a2", "0 1 2", "")
    assert other["set_params"] == "-S lr=0.05 -S muon.lr_ratio=1"
    # Deviations from 0.91: -0.01, 0, 0.01; from 0.83: -0.03, -0.01, 0.04.
    assert number(base, "validation_accuracy", "validation_accuracy_std") == pytest.approx([0.91, 0.01])
    assert number(base, "test_accuracy", "test_accuracy_std") == pytest.approx([0.83, sqrt(0.0026 / 2)], abs=1e-6)
    assert number(base, "tta_accuracy", "tta_accuracy_std", "calibration_error") == pytest.approx([0.91, 0.01, 0.02])
    assert number(base, "train_accuracy", "validation_loss", "seconds_per_epoch") == pytest.approx([0.95, 0.5, 3])
    assert (base["validation_accuracy_difference"], base["test_accuracy_from"]) == ("", "")
    # The differences -10, -5 and -20 thousandths: mean -35 / 3, deviations 5 / 3, 20 / 3, -25 / 3.
    error = sqrt((25 + 400 + 625) / 9 / 2) / sqrt(3) / 1000
    assert apart(other) == (pytest.approx(-0.035 / 3, abs=1e-6), pytest.approx(error, abs=1e-6), "3 pairs")
    # On the test split: 0, -20, -70 thousandths: mean -30, deviations 30, 10, -40.
    error = sqrt(2600 / 2) / sqrt(3) / 1000
    assert apart(other, "test_accuracy") == (pytest.approx(-0.03), pytest.approx(error, abs=1e-6), "3 pairs")
    said = capsys.readouterr().out
    assert "| 91.00 ± 1.00 " in said
    assert "| -1.17 ± 0.44 (3 pairs) |" in said
    assert "| -3.00 ± 2.08 (3 pairs) |" in said
    assert said.endswith("comparison.csv and comparison.png: settings: 2, runs: 6\n")
    assert not [line for line in said.splitlines() if line.startswith("|") and line.count("|") != 12]


def test_other_seeds_are_not_paired(repository: Repository) -> None:
    repository.seeds("base", {0: 0.90, 1: 0.92})  # variance 0.0002
    repository.seeds("lr", {1: 0.80, 2: 0.84, 3: 0.82}, lr=0.1)  # variance 0.0004
    repository.seeds("one", {1: 0.93}, lr=0.3)
    repository.seeds("other", {9: 0.93}, lr=0.4)
    found = rows()
    error = pytest.approx(sqrt(0.0002 / 2 + 0.0004 / 3), abs=1e-6)
    assert apart(found["lr 0.1"]) == (pytest.approx(-0.09), error, "3 and 2 runs")
    assert apart(found["lr 0.3"]) == (pytest.approx(0.01), None, "1 pair")  # of seed 1
    assert apart(found["lr 0.4"]) == (pytest.approx(0.02), None, "1 and 2 runs")
    assert found["lr 0.3"]["validation_accuracy_std"] == ""


def test_columns_that_a_run_lacks_are_empty(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.experiment("base-s0", 0.9, EVALUATED)
    repository.experiment("base-s1", 0.9, None, seed=1)  # `train` alone
    repository.experiment("all", None, EVALUATED, validation_size=0)
    # Not the tta that its params.yaml has: `evaluate` did not run again.
    stale = files(BASE | {"lr": 0.3, "tta": "none"}, {}, EVALUATED, {}, {}, "model of stale")["dvc.lock"]
    lock = yaml.safe_load(files(BASE | {"lr": 0.3}, {"train_accuracy": 0.95}, EVALUATED, {}, {}, "m")["dvc.lock"])
    lock["stages"]["evaluate"]["params"] = yaml.safe_load(stale)["stages"]["evaluate"]["params"]
    train = {"metrics/train.json": b'{"train_accuracy": 0.95}', "dvc.lock": yaml.safe_dump(lock).encode()}
    repository.experiment("stale", None, EVALUATED, change=train, lr=0.3)
    found = rows()
    filled = {label: (row["validation_accuracy"] != "", row["test_accuracy"] != "") for label, row in found.items()}
    assert filled == {"base": (True, False), "validation_size 0": (False, True), "lr 0.3": (False, False)}
    assert found["validation_size 0"]["test_accuracy_difference"] == ""
    assert " - base" not in capsys.readouterr().out  # no column without a number


def test_time_is_averaged_on_one_processor_with_one_number_of_threads(repository: Repository) -> None:
    repository.experiment("a", seed=0)
    repository.experiment("b", seed=1, run={"threads": 8, "seconds": 1}, threads=8, workers=3)
    repository.experiment("c", seed=0, lr=0.1)
    repository.experiment("d", seed=1, lr=0.1, run={"processor": "Q"}, device="cpu", precision="fp32")
    repository.experiment("e", seed=0, lr=0.3)
    found = rows()
    assert [row["seeds"] for row in found.values()] == ["0 1", "0 1", "0"]
    assert [row["seconds_per_epoch"] for row in found.values()] == ["", "", "2"]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"md5": {"data/train": "2"}}, "other data: data/train"),
        (
            {"md5": dict.fromkeys(CODE, "2"), "test": EVALUATED},
            "another code of train: requirements.lock, src/cifar10/core, src/cifar10/network",
        ),
        ({"md5": {"src/cifar10/network": ""}}, "another code of train: src/cifar10/network"),  # which it did not have
        ({"md5": {"data/test": "2"}, "test": EVALUATED}, "other test data: data/test"),
        ({"run": {"instruction_set": "AVX512"}}, "another machine: instruction_set AVX512, not AVX2"),
    ],
)
@pytest.mark.parametrize("lr", [0.2, 0.05])  # a run of the same setting, and one of another
def test_runs_of_another_kind_are_left_out(
    repository: Repository, capsys: pytest.CaptureFixture[str], odd: dict[str, Any], said: str, lr: float
) -> None:
    for seed in range(4):
        repository.experiment(f"a{seed}", test=EVALUATED if seed < 2 else None, seed=seed)
    repository.experiment("odd", seed=9, lr=lr, **odd)
    assert [row["experiments"] for row in rows().values()] == ["a0 a1 a2 a3"]
    assert f"\nodd left out, because of {said}\n" in capsys.readouterr().out
    assert "odd" in rows(base="odd")["base"]["experiments"].split()
    assert "\na0, a1" in capsys.readouterr().out


def test_code_of_evaluate_counts_where_it_scored_the_network(repository: Repository) -> None:
    repository.experiment("a", seed=0, test=EVALUATED)
    repository.experiment("b", seed=1, md5={"src/cifar10/evaluation": "2", "data/test": "2"})
    assert rows()["base"]["seeds"] == "0 1"


def test_many_runs_are_left_out_in_one_line(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(5):
        repository.experiment(f"a{seed}", seed=seed, md5={"src/cifar10/core": str(seed)})
    assert rows()["base"]["experiments"] == "a0"
    said = "a1, a2, a3 and 1 more left out, because of another code of train: src/cifar10/core"
    assert said in capsys.readouterr().out.splitlines()


def test_a_run_counts_once(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.experiment("a", 0.9, None, model="m")
    repository.experiment("b", 0.9, EVALUATED, {"threads": 2}, model="m", threads=2)
    repository.experiment("HEAD", 0.9, EVALUATED, model="m")
    base = rows()["base"]
    assert (base["experiments"], base["seeds"], base["test_accuracy"]) == ("b", "0", "0.8")  # b was evaluated
    said = capsys.readouterr().out
    assert "\nb is the same run as a\nmain is the same run as b\n" in said
    assert "settings: 1, runs: 1\n" in said


def test_another_network_of_one_setting_and_seed_is_refused(repository: Repository) -> None:
    repository.experiment("a", 0.9, seed=3)
    repository.experiment("b", 0.9, run={"threads": 2}, seed=3, threads=2)
    said = "a and b have the same parameters and seed, but another network (threads 1 and 2); leave one out: "
    assert refused() == said + "EXPERIMENTS='...', or dvc exp remove a"
    assert rows("b")["base"]["experiments"] == "b"


def test_results_of_head_take_part(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.experiment("HEAD", 0.9, EVALUATED)
    repository.experiment("lr", 0.95, lr=0.1)
    assert [row["experiments"] for row in rows().values()] == ["lr", "main"]
    assert [row["experiments"] for row in rows("ma*").values()] == ["main"]
    assert [row["experiments"] for row in rows("l*").values()] == ["lr"]
    git("update-ref", "--no-deref", "HEAD", repository.head)
    git("checkout", "-q", "--force", "--detach")
    assert [row["experiments"] for row in rows().values()] == ["lr", git("rev-parse", "--short", "HEAD")]
    assert "takes no part" not in capsys.readouterr().out


def test_results_of_head_that_are_not_its_parameters_take_no_part(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.experiment("HEAD", 0.9, change={"params.yaml": yaml.safe_dump(BASE | {"lr": 0.7}).encode()})
    repository.experiment("lr", 0.95, lr=0.1)
    assert list(rows()) == ["lr 0.1"]
    said = capsys.readouterr().out
    assert "main has no results that belong to its params.yaml, so it takes no part: not trained with its p" in said
    assert "lr was 0.2, is 0.7" in said
    assert said.splitlines()[-2].startswith(
        "no run has the parameters of the committed params.yaml, so there are no differences;"
    )
    assert said.splitlines()[-2].endswith("make compare BASE=lr")


def test_the_base_can_be_named(repository: Repository) -> None:
    repository.seeds("a", {0: 0.90, 1: 0.92})
    repository.seeds("b", {0: 0.91, 1: 0.93}, lr=0.1)
    repository.seeds("c", {0: 0.80, 1: 0.82}, lr=0.3)
    assert refused("a-s1", base="a-s0") == "BASE=a-s0 is none of the runs that are compared: a-s1"
    found = rows(base="b-s1")
    assert list(found) == ["base", "lr 0.2", "lr 0.3"]
    assert found["base"]["experiments"] == "b-s0 b-s1"
    assert apart(found["lr 0.2"])[::2] == (pytest.approx(-0.01), "2 pairs")
    assert found["base"]["set_params"] == "-S lr=0.1"  # from the committed parameters
    assert list(rows("b-*", "c-*")) == ["lr 0.1", "lr 0.3"]  # without the base: what varies


def test_a_recipe_gives_its_name(repository: Repository) -> None:
    named = {k: v for k, v in BASE.items() if k not in ("device", "precision", "threads", "workers")}
    (repository.path / "recipes/default.yaml").write_text(yaml.safe_dump(named))
    (repository.path / "recipes/quick.yaml").write_text("{lr: 0.1, seed: 5}")
    repository.seeds("a", {0: 0.90})
    repository.seeds("b", {0: 0.80}, lr=0.1, nesterov=False)
    repository.seeds("c", {0: 0.70}, lr=0.1, precision="fp32")
    assert list(rows()) == ["default", "lr 0.1, nesterov false", "quick"]
    assert [row["base"] for row in rows().values()] == ["1", "0", "0"]


def test_runs_on_other_data_are_left_out_unless_named(repository: Repository) -> None:
    repository.seeds("a", {0: 0.90})
    repository.experiment("other", dataset="cifar10", change={"dvc.lock": b""})  # not even read
    assert list(rows()) == ["base"]
    assert not PLOT.exists()  # which would show a single dot
    CSV.unlink()
    assert refused("*").startswith("other: ")
    assert refused("a-s0", "no-*").startswith("no experiment is called no-*; make show lists")


def test_no_runs(repository: Repository) -> None:
    repository.experiment("HEAD", dataset="cifar10")
    assert refused().splitlines() == [
        "1 on cifar10 left out; name them: EXPERIMENTS='...'",
        "there are no runs to compare; make one: dvc exp run --name NAME -S lr=0.1",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metrics/train.json": None}, "metrics/train.json is missing"),
        ({"metrics/run.json": b"{}"}, "metrics/run.json is not the file that dvc.lock records"),
        ({"dvc.lock": None}, "dvc.lock is missing"),
        ({"dvc.lock": b"stages: [\n"}, "dvc.lock cannot be read: "),
        ({"dvc.lock": b"stages: {}\n"}, "dvc.lock: the stage train has never run"),
        ({"dvc.lock": b"stages: {train: {}}\n"}, "'metrics/run.json' is missing"),
        ({"dvc.lock": b"- 1\n"}, ""),
        ({"params.yaml": b"a: b: c\n"}, "params.yaml cannot be read: "),
        ({"params.yaml": b"1\n"}, ""),
        (
            {"params.yaml": yaml.safe_dump(BASE | {"lr": 9.0}).encode()},
            "not trained with its params.yaml: lr was 0.2, is",
        ),
    ],
)
def test_a_broken_experiment_is_one_line(repository: Repository, change: dict[str, bytes | None], said: str) -> None:
    repository.seeds("a", {0: 0.90})
    repository.experiment("broken", seed=1, change=change)
    message = refused()
    assert message.startswith(f"broken: {said}")
    assert message.endswith("; remove it: dvc exp remove broken, or name others: EXPERIMENTS='...'")
    assert "\n" not in message


@pytest.mark.parametrize("value", [float("nan"), "0.9", True, None])
def test_what_is_no_number_is_one_line(repository: Repository, value: Any) -> None:
    repository.experiment("a", 0.9, {"accuracy": value})
    assert refused().startswith(f"a: test_accuracy is no number: {value}; remove it")


def test_experiments_of_one_name_on_two_commits(repository: Repository) -> None:
    first = repository.head
    repository.experiment("a", 0.9, seed=0)
    repository.experiment("HEAD", dataset="cifar10")
    repository.experiment("a", 0.8, seed=1)
    names = sorted(f"a@{commit[:7]}" for commit in (first, repository.head))
    (row,) = rows().values()
    assert sorted(row["experiments"].split()) == names
    assert list(rows("a")) == list(rows(*names))
    assert rows(f"a@{first[:7]}")[row["setting"]]["seeds"] == "0"
    CSV.unlink()
    git("update-ref", ref := f"refs/exps/{first[:2]}/{first[2:]}/a", first)  # without results
    assert f"; remove it: dvc exp remove {ref}, or name others" in refused(f"a@{first[:7]}")


def test_a_broken_workspace_is_one_line(repository: Repository) -> None:
    for text in ("a: b: c\n", "lr: 1\n", "1\n"):
        (repository.path / "params.yaml").write_text(text)
        assert refused().startswith("params.yaml: ")
    (repository.path / "params.yaml").unlink()
    assert refused().startswith("params.yaml: cannot be read: No such file ")
    (repository.path / "params.yaml").write_text(yaml.safe_dump(BASE))
    repository.seeds("a", {0: 0.90})
    (repository.path / "recipes/new.yaml").write_text("a: b: c\n")
    assert refused().startswith("recipes/new.yaml cannot be read: ")
    repository.commit("refs/heads/main", {"params.yaml": b"a: b: c\n"}, repository.head)
    assert refused().startswith("params.yaml of the commit cannot be read: mapping values")
    assert refused().endswith("; correct it and git commit")


def test_a_damaged_object_of_git_is_no_missing_file(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.seeds("a", {0: 0.90})
    with monkeypatch.context() as patch:  # a warning is no damage
        warned = subprocess.CompletedProcess([], 0, b"x missing\n", b"warning: unable to access '/x'\n")
        patch.setattr("tools.repository.subprocess.run", lambda *_, **__: warned)
        assert blobs([f"{repository.head}:./no file"]) == [None]
    for path in Path(".git/objects").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"^git cat-file: error: object file .* is empty"):
        blobs([f"{repository.head}:./params.yaml"])


def test_networks_that_another_release_started_are_left_out(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    for pretrained in (True, False):
        for seed in range(3):
            start = {"data/start.safetensors": "old" if seed < 2 else "new"}
            repository.experiment(f"{pretrained}-s{seed}", 0.9, md5=start, seed=seed, pretrained=pretrained)
    rows()
    said = "True-s2 left out, because of another network to start from: data/start.safetensors"
    assert [line for line in capsys.readouterr().out.splitlines() if "left out" in line] == [said]


def test_yaml_is_read_as_dvc_reads_it() -> None:
    lock = (ROOT / "dvc.lock").read_text() if (ROOT / "dvc.lock").exists() else ""
    values = "1e-05, 1e5, 1.0, 1, .5, -2E-3, auto, true, 1.5e+3, '1e3', 1., v1e3, yes, off, 010, 1_000, 0x1F, ~, .inf"
    for text in (PARAMS, f"[{values}]", "a:\nb: {<<: {c: 1e-05}}\nd:", lock[: lock.find("train:")]):
        assert yaml.load(text, Yaml12) == YAML(typ="safe", pure=True).load(text)
    assert load_params(b"a: {b: 1e-05}") == {"a.b": 1e-05}


def test_runs_are_read_where_the_repository_is_a_folder_of_another(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = files(BASE, {"train_accuracy": 0.5}, None, {}, {}, "m")
    repository.commit("refs/exps/ab/" + "c" * 38 + "/inner", {f"sub/{path}": data for path, data in content.items()})
    (repository.path / "sub").mkdir()
    monkeypatch.chdir(repository.path / "sub")
    (run,), *_ = find_runs(["inner"], None)
    assert run.numbers == {"train_accuracy": 0.5, "seconds": 8, "seconds_per_epoch": 2}


SHOWN = [("best, with a name", {0: 0.9, 1: 0.92}), ("base", {1: 0.85, 0: 0.86}), ("one", {7: 0.8})]


def test_the_picture_shows_every_seed_and_the_means() -> None:
    axes = figure(SHOWN, [0.85, 0.86], "validation accuracy").axes[0]
    lines = {label: [line for line in axes.lines if line.get_label() == label] for label in ("one seed", "base")}
    dots = [np.asarray(line.get_xdata()).tolist() for line in lines["one seed"]]
    assert dots == [pytest.approx([90, 92]), pytest.approx([86, 85]), pytest.approx([80])]
    heights = [y for line in lines["one seed"] for y in np.asarray(line.get_ydata()).tolist()]
    assert heights == sorted(set(heights), reverse=True)  # no dot hides another
    assert np.asarray(lines["base"][0].get_xdata()).tolist() == pytest.approx([85.5] * 2)
    means = [line.get_xdata() for line in axes.lines if line.get_label() == "mean ± standard error"]
    assert np.asarray(means).tolist() == [[pytest.approx(91)], [pytest.approx(85.5)]]
    (bar, *_), *_ = (bars.get_segments() for bars in axes.collections)  # type: ignore[attr-defined]
    assert bar[:, 0].tolist() == pytest.approx([90, 92])  # 1.414 / sqrt(2) to each side
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best, with a name", "base", "one"]
    assert axes.get_xlabel() == "validation accuracy (%)"
    assert not [line for line in figure(SHOWN, [], "").axes[0].lines if line.get_label() == "base"]


def test_long_labels_end_in_dots() -> None:
    label = "lr 0.1, ema 0.5, optimizer muon, batch_size 64"
    assert wrapped(label) == "lr 0.1, ema 0.5, optimizer muon,\nbatch_size 64"  # no line ends within a parameter
    assert wrapped(f"{label}, {label}, {label}, {label}").endswith(" ...")
    assert wrapped(f"{label}, {label}, {label}, {label}").count("\n") == 2


def test_test_accuracy_is_drawn_where_some_have_no_validation_split(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.compare.__main__.draw", drawn := Mock(return_value=b""))
    repository.experiment("base", 0.9, EVALUATED | {"accuracy": 0.7})
    repository.experiment("all", None, EVALUATED | {"accuracy": 0.6}, validation_size=0)
    repository.experiment("lr", 0.8, EVALUATED | {"accuracy": 0.75}, lr=0.3)
    compare([], None)
    repository.experiment("third", 0.85, EVALUATED, lr=0.1)
    compare(["base", "lr", "third"], None)
    repository.experiment("train-only", 0.8, lr=0.4)
    compare([], None)
    shown = [each.args for each in drawn.call_args_list]
    dots = [("lr 0.3", {0: 0.75}), ("base", {0: 0.7}), ("validation_size 0", {0: 0.6})]
    assert shown[0] == (dots, [0.7], "test accuracy")
    middle = ("lr 0.1", {0: 0.85})
    assert shown[1] == ([("base", {0: 0.9}), middle, ("lr 0.3", {0: 0.8})], [0.9], "validation accuracy")
    assert shown[2][2] == "train accuracy"
    said = capsys.readouterr().out
    assert "by test accuracy, as not every run has a validation accuracy; choose nothing by it\n" in said
    assert "by train accuracy, as not every run has the others\n" in said
    for i in range(13):  # of a search, the effects are still those on the validation accuracy
        repository.experiment(f"trial-{i}", 0.5 + i / 100, EVALUATED | {"accuracy": 0.9 - i / 100}, lr=0.1 + i / 100)
    monkeypatch.setattr("tools.compare.__main__.DRAWN", 5)  # a picture of thousands of rows is too large
    compare(["trial-*", "all"], None)
    assert len(drawn.call_args.args[0]) == 5
    said = capsys.readouterr().out
    assert "comparison.png shows the best 5 of 14 settings\n" in said
    assert re.search(r"\| lr +\| 0\.1 to 0\.22 +\| \+12\.00 ± 0\.00", said)


def test_make_gives_the_patterns_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    python = folder / ".venv/bin/python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    make = ["make", "--no-print-directory", "-o", "setup", "compare"]
    given = subprocess.check_output([*make, "EXPERIMENTS=M* lr-?", "BASE=a b"], cwd=folder, text=True)
    assert given.splitlines() == ["-m", "tools.compare", "--base", "a b", "--", "M*", "lr-?"]
    assert subprocess.check_output(make, cwd=folder, text=True).splitlines() == ["-m", "tools.compare", "--"]


def test_experiments_in_a_table_of_the_terminals_width(repository: Repository) -> None:
    Path("recipes/default.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    repository.experiment("HEAD", 0.905, EVALUATED)
    repository.experiment("low-lr", 0.87, EVALUATED, lr=0.01)
    repository.experiment("many", 0.5, None, run={"seconds": 1234.4}, lr=0.01, epochs=3, batch_size=64, ema=0.5)
    numbers, texts = list[list[str]](), list[str]()
    for line in show([], 90).splitlines()[2:]:
        assert len(line) <= 90
        *cells, text = (cell.strip() for cell in line.strip("|").split("|"))
        numbers.append(cells)
        texts.append(text)
    assert numbers[0] == ["low-lr", "80.00", "87.00", "0.600", "8"]
    assert numbers[1] == ["many", "", "50.00", "", "1234"]
    assert numbers[-1] == ["main", "80.00", "90.50", "0.600", "8"]
    assert {"".join(cells) for cells in numbers[2:-1]} == {""}  # further lines of the text alone
    assert texts[0].endswith("lr 0.01")
    assert all(name in " ".join(texts[1:-1]) for name in ("lr 0.01", "epochs 3", "batch_size 64", "ema 0.5"))
    assert [line.split()[1] for line in show(["low*"], 90).splitlines()[2:]] == ["low-lr"]
    repository.experiment("broken", change={"dvc.lock": None})
    *_, low, fault = show(["low*", "broken"], 90).splitlines()
    assert low.startswith("| low-lr")
    assert fault.startswith("broken: dvc.lock is missing; remove it: dvc exp remove broken")
    shutil.rmtree("recipes")
    with pytest.raises(UserError, match=r"^recipes/ holds no recipe; git restore recipes$"):
        show([], 90)
