"""One thread: two test processes with two OpenMP threads each on two cores spin at their barriers for minutes."""

import os
import shutil
import signal
from collections.abc import Iterator

os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import pytest
from filelock import FileLock

from cifar10.core.params import Params
from cifar10.core.params_file import parse_params
from stages.support.stop import stop_signals
from tests.clone import HOSTILE, PARAMS, Clone

for number in (signal.SIGINT, signal.SIGHUP):  # nohup and a shell's & have them ignored, which every process inherits
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=0, help="how many times test_kills.py kills dvc repro")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that take longest first, so that neither process waits for the other's at the end."""
    slow = "kills goes_on is_lost experiments verify pipeline docs remotes training workspace power_cut setup stages"
    names = slow.split()
    items.sort(key=lambda item: next((i for i, name in enumerate(names) if name in item.nodeid), len(names)))


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that all test processes share; matplotlib's font cache is made once, there."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared by all"
    folder.mkdir(exist_ok=True)
    import torch  # not above: the process that hands out the tests needs none of it

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", str(folder / "matplotlib"))
        yield folder


@pytest.fixture(scope="session")
def reproduced(shared: Path) -> Clone:
    """A clone in which `dvc repro` has run once and been committed; made by whichever process comes first."""
    clone = Clone(shared / "reproduced")
    with FileLock(shared / "reproduced.lock"):
        if not clone.path.exists():
            making = Clone.make(shared / "making")
            (shared / "hostile").mkdir(exist_ok=True)
            (shared / "hostile/numpy.py").write_text("raise SystemExit('not our numpy')\n")
            hostile = HOSTILE | {"PYTHONPATH": str(shared / "hostile")}
            output = making.run("env", *(f"{name}={value}" for name, value in hostile.items()), "dvc", "repro")
            assert making.ran(output) == ["download", "compute_stats", "train", "evaluate", "draw", "export"]
            making.commit("repro")
            making.run("git", "repack", "-adq")  # a copy has fewer files
            making.path.rename(clone.path)
    return clone


@pytest.fixture
def clone(reproduced: Clone, tmp_path: Path) -> Clone:
    """A copy of that clone, with results, cache and history, in a path with spaces."""
    return Clone(shutil.copytree(reproduced.path, tmp_path / "a folder/with spaces", symlinks=True))


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A stage that runs in this process leaves its handlers of signals; Ctrl-C must still end the tests."""
    before = {number: signal.getsignal(number) for number in stop_signals()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def params() -> Params:
    """The default recipe on a CPU, whatever the workspace's params.yaml holds."""
    return parse_params(PARAMS)
