"""make same: a changed byte is found and named, and nothing is reported where nothing changed."""

import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from cifar10.core.errors import UserError
from tests.clone import ROOT
from tests.repository import commit, init
from tools.repository import running_python
from tools.same import VARIANTS, main

DEFAULT = (ROOT / "recipes/default.yaml").read_text()
# A pipeline that takes no time: its model is the parameters and a word.
STAGES = {
    "download": "Path('data').mkdir(exist_ok=True)\nPath('data/images').write_text('images')\n",
    "compute_stats": "Path('metrics').mkdir(exist_ok=True)\n",
    "train": "Path('models').mkdir(exist_ok=True)\n"
    "Path('models/model').write_text(Path('params.yaml').read_text() + 'word')\n"
    "Path('metrics/run.json').write_text(str(Path.cwd()))\n",
    "evaluate": "Path('plots').mkdir(exist_ok=True)\nPath('plots/p.csv').write_text('p')\n",
    "export": "",
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    init(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["same"])
    for folder in ("stages", "recipes"):
        (tmp_path / folder).mkdir()
    (tmp_path / "recipes/default.yaml").write_text(DEFAULT)
    (tmp_path / "dvc.yaml").write_text(f"stages: {dict.fromkeys(STAGES, 0)}\n")
    for name, code in STAGES.items():
        (tmp_path / f"stages/{name}.py").write_text(f"from pathlib import Path\n{code}")
    commit()
    return tmp_path


def test_nothing_changed(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = repository / "stages/train.py"
    train.write_text("# a comment\n" + train.read_text())
    main()
    # metrics/run.json, which holds a path here, does not count.
    assert capsys.readouterr().out == "same: all 15 files of 5 variants are as HEAD writes them\n"


def test_a_changed_word_is_found_in_every_variant(repository: Path) -> None:
    train = repository / "stages/train.py"
    train.write_text(train.read_text().replace("word", "another"))
    with pytest.raises(UserError) as error:
        main()
    names = ", ".join(f"{variant}/models/model" for variant in sorted(VARIANTS))
    assert str(error.value) == f"5 of 15 files are not as HEAD writes them: {names}"


def test_the_stages_of_each_dvc_yaml_run_in_its_order_and_those_of_the_data_once(repository: Path) -> None:
    (repository / "stages/draw.py").write_text("import os\nos.rename('plots/p.csv', 'plots/q.csv')\n")
    download, dvc_yaml = repository / "stages/download.py", repository / "dvc.yaml"
    download.write_text(download.read_text().replace("exist_ok=True", ""))  # it would fail the second time
    dvc_yaml.write_text(dvc_yaml.read_text().replace("'export'", "'draw': 0, 'export'"))
    with pytest.raises(UserError, match=r"10 of 15 files .*adam/plots/p.csv, adam/plots/q.csv, "):
        main()


def test_a_failure_is_reported_with_its_output(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "stages/train.py").write_text("raise SystemExit('no such optimizer')\n")
    with pytest.raises(UserError, match=r"^the working tree failed, see above$"):
        main()
    assert capsys.readouterr().err == "no such optimizer\n\n"


def test_what_runs_in_a_copy_ends_with_the_block(tmp_path: Path) -> None:
    with pytest.raises(UserError), running_python(tmp_path, "-c", "import time; time.sleep(600)") as process:
        raise UserError
    assert process.returncode == -SIGKILL


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (None, "is not there"),
        ("lr: [", "cannot be read"),
        (DEFAULT.replace("  flip:", "  mirror:"), r"has no 'augmentation\.flip'"),
    ],
)
def test_a_commit_without_these_parameters_is_refused(repository: Path, params: str | None, reason: str) -> None:
    path = repository / "recipes/default.yaml"
    path.write_text(params) if params else path.unlink()
    next_step = "name a later commit, or: git restore recipes"
    message = rf"^the working tree cannot be compared: its recipes/default\.yaml {reason}; {next_step}$"
    with pytest.raises(UserError, match=message):
        main()
