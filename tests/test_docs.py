"""What README and docs/ name exists, and the commands in them run as written."""

import re
from pathlib import Path

import pytest

from tests.clone import Clone

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Commands that take minutes, need a network, change this machine or prepare what a test has already.
NOT_RUN = {
    "git clone <this repository> cifar10 && cd cifar10",
    "make setup",
    "make demo",
    "make test",
    "make train RECIPE=default",
    "make same COMMIT=HEAD",
    "make bench",
    ". .venv/bin/activate",
    # A training each; tests/test_experiments.py and tests/test_recipes.py run such experiments.
    "dvc exp run --name low-lr --set-param lr=0.01",
    "dvc exp run --name slow --set-param lr=0.02",
    "dvc exp run --set-param lr=0.01",
    "dvc exp run --set-param lr=0.2",
    "dvc exp apply slow",
    "dvc exp apply digits-s0",
    "dvc exp diff digits-s0 low-lr",
    "dvc plots diff digits-s0 low-lr",
    "git switch --create digits",
    'git commit --all --message "Digits"',
    "dvc exp run --queue --set-param lr=0.05,0.1",
    "dvc queue start",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"(?ms)^ *```{language}\n(.*?)^ *```$", page.read_text())


COMMANDS = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]


def test_no_command_is_excused_that_is_not_there() -> None:
    assert set(COMMANDS) >= NOT_RUN


def test_the_commands_run(clone: Clone) -> None:
    commands = [command for command in dict.fromkeys(COMMANDS) if command not in NOT_RUN]
    assert len(commands) >= 10
    output = {command: clone.run("sh", "-c", command) for command in commands}
    (table,) = (said for command, said in output.items() if command.startswith("dvc exp show"))
    assert re.search(r"Experiment +accuracy +lr", table)  # as README shows it


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_the_python_runs(page: Path, clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.path)
    for block in blocks(page, "python"):
        exec(block, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []
    folders = "src|stages|tools|tests|benchmarks|recipes|docs|plots"
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    new = {"recipes/cifar100.yaml"}  # adapting.md has the reader make it
    assert [path for path in paths if not (ROOT / path).exists() and path not in new] == []
