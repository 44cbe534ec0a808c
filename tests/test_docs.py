"""What README and docs/ name exists, and the commands in them run as written."""

import re
from pathlib import Path

import pytest

from tests.clone import ROOT, Clone, git

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Commands that take minutes, need a network, change this machine or prepare what a test has already.
NOT_RUN = {
    "git clone <this repository> cifar10 && cd cifar10",
    "make setup",
    "make demo",
    "make test",
    "make train RECIPE=default",
    "make train RECIPE=pictures",
    "make train RECIPE=long SEED=1",
    "cifar10 classify --model models/model.onnx new.jpg",
    "dvc add pictures/*",  # there are none
    "git add pictures",
    'git commit --message "Pictures"',
    "make bench",
    "make sweep RECIPE=fast GRID='seed=0,1,2'",
    "make sweep RECIPE=default GRID='validation_size=0 seed=0,1,2'",
    "make show",
    ". .venv/bin/activate",
    # A training each; tests/test_experiments.py and tests/test_recipes.py run such experiments.
    "dvc exp run --name low-lr --set-param lr=0.01",
    "dvc exp run --name slow --set-param lr=0.02",
    "dvc exp run --set-param lr=0.03",
    "dvc exp run --set-param lr=0.2",
    "dvc exp apply slow",
    "dvc exp apply digits-s0",
    "dvc exp diff digits-s0 low-lr",
    "dvc plots diff digits-s0 low-lr",
    "git switch --create digits",
    'git commit --all --message "Digits"',
    "dvc exp run --queue --set-param lr=0.05,0.1",
    "dvc queue start",
    # As a whole, in tests/test_remotes.py.
    'dvc remote add --default storage ../cifar10-storage && git commit --message "Remote" .dvc/config',
    "dvc push --run-cache",
    "git clone . ../cifar10-second && cd ../cifar10-second && dvc repro --pull",
    # A server, a bucket or an experiment that is not here; tests/test_remotes.py does the same with a folder.
    "make setup-cluster",
    'dvc remote add --default storage ssh://example.org/srv/cifar10 && git commit --message "Remote" .dvc/config',
    "dvc remote modify --local storage user alice",
    "dvc remote modify --local storage port 2222",
    "dvc remote modify --local storage keyfile ~/.ssh/id_cluster",
    "dvc remote add --default storage s3://my-bucket/cifar10",
    'dvc remote modify storage endpointurl https://s3.example.org && git commit --message "Remote" .dvc/config',
    "dvc remote modify --local storage access_key_id MY-KEY",
    "dvc remote modify --local storage secret_access_key MY-SECRET",
    "dvc remote modify --local storage url /mnt/shared/cifar10-storage",
    "dvc exp push origin digits-s0",
    "dvc exp list --all-commits origin",
    "dvc exp pull origin digits-s0",
    "dvc exp run --queue -S threads=1 -S workers=0 -S 'lr=0.05,0.1' -S 'seed=0,1,2'",
    "dvc exp run --queue --name too-high -S threads=1 -S workers=0 -S epochs=8 -S lr=1000",
    "dvc queue start -j 2",
    "dvc queue logs too-high",  # the experiments above have not run
    # Ray; tests/test_sweep.py and tests/test_compare.py run the tools.
    "make sweep GRID='lr=0.05,0.1 seed=0,1,2'",
    "make sweep GRID='lr=0.05..0.5:log muon.momentum=0.85..0.97 validation_size=5000 seed=0,1' TRIALS=40 RECIPE=fast",
    "ray get-auth-token --generate",
    "RAY_AUTH_MODE=token ray start --head --port=6379 --disable-usage-stats",
    "RAY_AUTH_MODE=token ray start --address=head.example.org:6379",
    "make sweep GRID='lr=0.05,0.1 seed=0,1,2' ADDRESS=head.example.org:6379",
    "make compare",
    "make compare EXPERIMENTS='default-* fast-*' BASE=default-s1",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"(?ms)^ *```{language}\n(.*?)^ *```$", page.read_text(encoding="utf-8"))


COMMANDS, SAID = list[str](), list[tuple[str, str]]()  # and (command, a line that it prints)
for page in PAGES:
    for line in "".join(blocks(page, "sh")).splitlines():
        if line.startswith("# "):
            SAID.append((COMMANDS[-1], line.removeprefix("# ")))
        else:
            COMMANDS.append(line)


def test_no_command_is_excused_that_is_not_there() -> None:
    assert set(COMMANDS) >= NOT_RUN


def test_the_commands_run(clone: Clone) -> None:
    commands = [command for command in dict.fromkeys(COMMANDS) if command not in NOT_RUN]
    assert len(commands) >= 10
    clone.set_params(workers=3)  # which change no byte
    output = {command: clone.run("sh", "-c", command.removeprefix(".venv/bin/")) for command in commands}
    assert clone.ran(output["dvc repro"]) == []
    assert "up to date" in output["dvc status"]
    tables = [said for command, said in output.items() if command.startswith("dvc exp show")]
    assert SAID
    assert [line for command, line in SAID if line not in output[command].splitlines()] == []
    assert any(re.search("Experiment +accuracy +seed +lr", table) for table in tables)  # as in docs/experiments.md


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_the_python_runs(page: Path, clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.path)
    for block in blocks(page, "python"):
        exec(block, {})


def exists(path: Path) -> bool:
    """Or is committed: DVC removes the outputs of a stage before it runs, so a training that failed leaves none."""
    return path.exists() or git("ls-files", str(path.resolve())) != ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not exists(page.parent / link)] == []
    folders = "src|stages|tools|tests|benchmarks|recipes|docs|plots"
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    new = {"recipes/cifar100.yaml"}  # adapting.md has the reader make it
    assert [path for path in paths if not exists(ROOT / path) and path not in new] == []
