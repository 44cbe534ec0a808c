"""One thread: two test processes with two OpenMP threads each on two cores spin at their barriers for minutes."""

import os
import signal
from collections.abc import Iterator

os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import pytest
import torch

from cifar10.params import Params, parse_params
from tests.clone import Clone

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=0, help="how many times test_kills.py kills dvc repro")


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in a path with spaces, in which `dvc repro` has run once and been committed."""
    clone = Clone(tmp_path_factory.mktemp("a folder") / "with spaces", epochs=2)
    output, clone.seconds = clone.repro()
    assert clone.ran(output) == ["download", "compute_stats", "train", "evaluate"]
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "repro")
    return clone


@pytest.fixture
def clone(reproduced: Clone) -> Clone:
    """The clone as `dvc repro` left it, whatever the test before did to it."""
    reproduced.run("git", "checkout", "-q", ".")
    reproduced.run("dvc", "checkout", "-q")
    return reproduced


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A stage that runs in this process leaves its handlers of signals; Ctrl-C shall go on to end the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def params() -> Params:
    """The committed parameters."""
    return parse_params((Path(__file__).parent.parent / "params.yaml").read_text())
