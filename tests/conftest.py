"""One thread: two test processes with two OpenMP threads each on two cores spin at their barriers for minutes."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import pytest
import torch

from cifar10.params import Params, parse_params

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=4, help="how many times test_kills.py kills dvc repro")


@pytest.fixture
def params() -> Params:
    """The committed parameters."""
    return parse_params((Path(__file__).parent.parent / "params.yaml").read_text())
