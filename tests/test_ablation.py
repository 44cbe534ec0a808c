"""make ablation: the table is arithmetic on experiments, and averages only runs of the same change."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cifar10.core.errors import UserError
from tools.ablation import evaluated, main, table

ROOT = Path(__file__).parent.parent
PARAMS = "seed: {seed}\nepochs: {epochs}\nlr: {lr}\nmuon: # a group\n  lr_ratio: {muon}\nthreads: {threads}\n"
DEFAULTS: dict[str, object] = {"seed": 0, "epochs": 2, "lr": 0.2, "muon": 0.014, "threads": "auto"}
HEADER = (
    "change,set_params,commit,seeds,validation_accuracy,std,validation_loss,train_accuracy,seconds_per_epoch,"
    "test_accuracy,test_std,tta_accuracy,calibration_error\n"
)
COMMITTED = (
    HEADER
    # Parameters that params.yaml has no more; three seeds, of which one is here; two, of which two are here.
    + "gone,-S bias_lr=16.0 -S identity_init=True,1111111,1,0.85,,0.45,0.86,44.0,,,,\n"
    + "three,-S lr=0.3,1111111,3,0.84,0.005,0.46,0.85,45.0,0.83,0.001,,0.02\n"
    + "two,-S lr=0.4,1111111,2,0.83,0.006,0.47,0.84,46.0,,,,\n"
)


class Repository:
    """A git repository with the refs that `dvc exp run` makes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "recipes").mkdir(parents=True)
        self.csv = path / "recipes/ablation.csv"
        self.csv.write_text(COMMITTED)
        (path / "params.yaml").write_text(PARAMS.format(**DEFAULTS))
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-qm", "base")

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
        return subprocess.check_output(["git", *identity, *arguments], cwd=self.path, text=True).strip()

    def experiment(
        self,
        name: str,
        train: dict[str, float],
        seconds: float,
        test: dict[str, float] | None = None,
        **params: object,
    ) -> None:
        """As dvc exp run --name NAME -S ...; without `test`, `evaluate` ran on another network."""
        base = self.git("rev-parse", "HEAD")
        metrics = {"train": train, "run": {"seconds": seconds}, "test": test or {"accuracy": 0.1, "tta_accuracy": 0.1}}
        (self.path / "metrics").mkdir()
        for file, content in metrics.items():
            (self.path / f"metrics/{file}.json").write_text(json.dumps(content))
        model = f"path: models/model.safetensors, md5: {'a' if test else 'b'}"
        lock = f"stages: {{train: {{outs: [{{{model}}}]}}, evaluate: {{deps: [{{{model.replace('b', 'c')}}}]}}}}"
        (self.path / "dvc.lock").write_text(lock)
        (self.path / "params.yaml").write_text(PARAMS.format(**(DEFAULTS | params)))
        self.git("add", "-A")
        commit = self.git("commit-tree", "-p", base, "-m", name, self.git("write-tree"))
        self.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", commit)
        self.git("reset", "-q", "--hard")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # the user's may sign commits
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


def scores(validation_accuracy: float) -> dict[str, float]:
    return {"validation_accuracy": validation_accuracy, "validation_loss": 0.5, "train_accuracy": 0.9}


def test_figures_and_the_rows_that_stay(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    # Mean 2.62 / 3; deviations -4/300, -1/300, 5/300, so the sample's variance is (16 + 1 + 25) / 90,000 / 2.
    repository.experiment("new-s0", scores(0.86), 10, seed=0, muon=0.02)
    repository.experiment("new-s1", scores(0.87), 12, seed=1, muon=0.02, threads=1)  # the machine's choice
    repository.experiment("new-s7", scores(0.89), 15, {"accuracy": 0.85, "tta_accuracy": 0.9}, seed=7, muon=0.02)
    # Mean 0.805, deviations 0.005 and -0.005, so the sample's variance is 0.00005.
    for seed, accuracy in enumerate((0.8, 0.81)):
        test = {"accuracy": accuracy + 0.05, "tta_accuracy": 0.86 + seed / 100, "calibration_error": 0.02}
        repository.experiment(f"two-s{seed}", scores(accuracy), 80, test, seed=seed, lr=0.4)
    repository.experiment("three-s0", scores(0.99), 1, lr=0.3)
    repository.experiment("base-s3", scores(0.7), 1, seed=3)
    repository.experiment("another-name", scores(1), 1)
    commit = repository.git("rev-parse", "--short", "HEAD")
    main()
    assert repository.csv.read_text() == (
        HEADER
        + f"new,-S muon.lr_ratio=0.02,{commit},3,0.8733,0.0153,0.5,0.9,6.2,,,,\n"
        + "gone,-S bias_lr=16.0 -S identity_init=True,1111111,1,0.85,,0.45,0.86,44.0,,,,\n"
        + "three,-S lr=0.3,1111111,3,0.84,0.005,0.46,0.85,45.0,0.83,0.001,,0.02\n"
        + f"two,-S lr=0.4,{commit},2,0.805,0.0071,0.5,0.9,40.0,0.855,0.0071,0.865,0.02\n"
        + f"base,,{commit},1,0.7,,0.5,0.9,0.5,,,,\n"
    )
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "three: kept the row of 3 seeds, as only 1 found here"
    assert len(lines) == 2 + 5
    assert lines[2].startswith(f"| new | -S muon.lr_ratio=0.02 | {commit} | 3 | 0.8733 | 0.0153 |")


def test_a_row_of_the_same_name_but_another_change_is_kept(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.experiment("gone-s5", scores(0.9), 1, seed=5, lr=0.3)  # its name stands for other parameters there
    main()
    row = "gone,-S bias_lr=16.0 -S identity_init=True,1111111,1,0.85,,0.45,0.86,44.0,,,,\n"
    assert row in repository.csv.read_text()
    said = "gone: kept the row with -S bias_lr=16.0 -S identity_init=True, as -S lr=0.3 is another change"
    assert capsys.readouterr().out.splitlines()[0] == said


def refused(repository: Repository) -> str:
    with pytest.raises(UserError) as error:
        main()
    assert repository.csv.read_text() == COMMITTED
    return str(error.value)


def test_runs_with_other_parameters_are_refused(repository: Repository) -> None:
    repository.experiment("good-s0", scores(0.9), 1)
    for seed, lr, muon in ((0, 0.3, 0.1), (1, 0.3, 0.2), (2, 0.4, 0.1)):
        repository.experiment(f"two-s{seed}", scores(0.8), 1, seed=seed, lr=lr, muon=muon)
    said = "two: cannot average two-s0, two-s1, two-s2: lr is 0.3, 0.3, 0.4; muon.lr_ratio is 0.1, 0.2, 0.1; "
    assert refused(repository) == said + "use dvc exp rename or remove"


def test_runs_with_the_same_seed_are_refused(repository: Repository) -> None:
    for name in ("new-s0", "new-s1"):
        repository.experiment(name, scores(0.8), 1, seed=4)
    said = "new: cannot average new-s0, new-s1: seed is 4, 4; use dvc exp rename or remove"
    assert refused(repository) == said


def test_runs_of_different_commits_are_refused(repository: Repository) -> None:
    commits = {}
    for seed in range(2):
        commit = repository.git("rev-parse", "--short", "HEAD")
        commits[repository.git("rev-parse", "HEAD")] = f"new-s{seed}", commit
        repository.experiment(f"new-s{seed}", scores(0.8), 1, seed=seed)
        repository.git("commit", "-q", "--allow-empty", "-m", "next")
    names, shorts = zip(*(commits[commit] for commit in sorted(commits)), strict=True)
    said = f"new: cannot average {', '.join(names)}: base commit is {', '.join(shorts)}; use dvc exp rename or remove"
    assert refused(repository) == said


def command(repository: Repository, before: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", f"{before} exec {shlex.quote(sys.executable)} -m tools.ablation"],
        cwd=repository.path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_errors_are_one_line(repository: Repository) -> None:
    done = command(repository)
    assert done.stderr.startswith("error: ablation: no experiment is called NAME-sSEED")
    assert (done.stdout, done.stderr.count("\n"), done.returncode) == ("", 1, 1)


def test_a_missing_table_is_named(repository: Repository) -> None:
    repository.experiment("new-s0", scores(0.8), 1)
    repository.csv.unlink()
    with pytest.raises(UserError, match=r"^recipes/ablation.csv: No such file or directory; git restore recipes/abl"):
        main()


def test_experiments_on_other_data_are_left_out(repository: Repository) -> None:
    """The demo's, for example."""
    (repository.path / "params.yaml").write_text("dataset: cifar10\n" + PARAMS.format(**DEFAULTS))
    repository.git("commit", "-qam", "with a dataset")
    repository.experiment("digits-s0", scores(0.9), 1)  # its params.yaml has none
    with pytest.raises(UserError, match=r"^no experiment is called NAME-sSEED"):
        main()


def test_the_table_is_complete_or_as_before(repository: Repository) -> None:
    repository.experiment("new-s0", scores(0.8), 1)
    done = command(repository, before="ulimit -f 0;")  # no file may have a single byte
    assert done.stderr.startswith("error: ablation: recipes/ablation.csv: ")
    assert (done.stderr.count("\n"), done.returncode) == (1, 1)
    assert repository.csv.read_text() == COMMITTED
    assert [path.name for path in repository.csv.parent.iterdir()] == ["ablation.csv"]


def test_columns_that_some_runs_lack() -> None:
    base = {"threads": 2, "lr": 0.2, "seed": 7, "muon.lr_ratio": 0.1}

    def run(accuracy: float, seconds: float, test: dict[str, float], **params: Any) -> dict[str, Any]:
        common = {"commit": "abc", "validation_loss": 0.5, "train_accuracy": 0.8, "seconds_per_epoch": seconds}
        run = {"validation_accuracy": accuracy, "params": base | {"threads": 1} | params, "base": base}
        return run | common | test

    found = [
        ("none", run(0.8, 10, {"test_accuracy": 0.7}, seed=0)),
        ("lr", run(0.9, 20, {"test_accuracy": 0.6}, lr=0.3, seed=0)),
        ("none", run(0.82, 14, {}, seed=1)),
        ("lr", run(0.9, 20, {"test_accuracy": 0.64}, lr=0.3, seed=1)),
        ("all images", run(0.9, 20, {"test_accuracy": 0.64}, validation_size=0, seed=1)),
    ]
    del found[-1][1]["validation_accuracy"]
    none, lr, everything = table(found)
    assert (lr["change"], lr["set_params"], lr["seeds"], lr["std"]) == ("lr", "-S lr=0.3", 2, 0)
    assert (none["change"], none["set_params"], none["seeds"]) == ("none", "", 2)
    assert none["validation_accuracy"] == pytest.approx(0.81)
    assert none["std"] == pytest.approx(0.0141)  # 0.01 times the root of 2
    assert none["seconds_per_epoch"] == 12
    assert none["test_accuracy"] == none["test_std"] == ""  # one of its runs was not evaluated
    assert (lr["test_accuracy"], lr["test_std"]) == pytest.approx((0.62, 0.0283), abs=1e-9)
    assert (everything["validation_accuracy"], everything["std"], everything["test_accuracy"]) == ("", "", 0.64)
    assert everything["set_params"] == "-S validation_size=0"


def test_test_metrics_count_for_the_network_that_they_are_of() -> None:
    def lock(scored: str) -> dict[str, Any]:
        other = {"path": "data", "md5": "a"}
        train = {"outs": [other, {"path": "models/model.safetensors", "md5": "b"}]}
        return {"train": train, "evaluate": {"deps": [other, {"path": "models/model.safetensors", "md5": scored}]}}

    assert evaluated(lock("b"))
    assert not evaluated(lock("a"))
    assert not evaluated({"train": lock("b")["train"]})  # `evaluate` has never run
