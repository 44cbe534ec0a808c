import math
from pathlib import Path

import pytest

from cifar10.errors import ParamsError
from cifar10.params import Params, parse_params

COMMITTED = (Path(__file__).parent.parent / "params.yaml").read_text()


def changed(key: str, value: str) -> str:
    """params.yaml with one top-level line replaced."""
    lines = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in COMMITTED.splitlines()]
    assert f"{key}: {value}" in lines
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", "-1", "lr: must be > 0 (got -1)"),
        ("lr", "0", "lr: must be > 0 (got 0)"),
        ("lr", "true", "lr: must be a valid number (got True)"),
        ("lr", "'0.1'", "lr: must be a valid number (got '0.1')"),
        ("lr", ".nan", "lr: must be a finite number (got nan)"),
        ("lr", ".inf", "lr: must be a finite number (got inf)"),
        ("lr", "", "lr: must be a valid number (got None)"),
        ("lr", "[0.1]", "lr: must be a valid number (got [0.1])"),
        ("epochs", "3.0", "epochs: must be a valid integer (got 3.0)"),
        ("epochs", "0", "epochs: must be >= 1 (got 0)"),
        ("dataset", "cifar100", "dataset: must be 'cifar10', 'cifar10-jpeg' or 'digits' (got 'cifar100')"),
        ("nesterov", "1", "nesterov: must be a valid boolean (got 1)"),
        ("workers", "-1", "workers: must be auto or a whole number from 0 to 256 (got -1)"),
        ("threads", "true", "threads: must be auto or a whole number from 1 to 256 (got True)"),
    ],
)
def test_refused_in_one_line(key: str, value: str, message: str) -> None:
    with pytest.raises(ParamsError) as error:
        parse_params(changed(key, value))
    assert str(error.value) == f"params.yaml: {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\nlr: 0.2", "\nlearning_rate: 0.2", "params.yaml: lr: is missing\nparams.yaml: learning_rate: unknown key"),
        ("\nseed: 0", "\nseed: 0\nepoch: 3", "params.yaml: epoch: unknown key, did you mean epochs?"),
        ("  flip_p: 0.5", "  flipp: 0.5", "params.yaml: augmentation.flipp: unknown key, did you mean flip_p?"),
        ("  hole_size: 16", "  hole_size: 33", "params.yaml: augmentation.hole_size: must be <= 32 (got 33)"),
        ("\nlr: 0.2", "\nlr: 0.2\nlr: 0.3", "params.yaml: not valid YAML: while constructing a mapping"),
        ("\nseed: 0", "\nseed: 2024-99-99", "params.yaml: not valid YAML: month must be in 1..12"),
        ("\nlr: 0.2", "\nlr: [0.2", "params.yaml: not valid YAML: while parsing a flow sequence"),
    ],
)
def test_faults_in_the_file(old: str, new: str, message: str) -> None:
    assert old in COMMITTED
    with pytest.raises(ParamsError) as error:
        parse_params(COMMITTED.replace(old, new))
    assert message in str(error.value)


def test_every_fault_is_listed_at_once() -> None:
    with pytest.raises(ParamsError) as error:
        parse_params(changed("lr", "-1").replace("momentum: 0.9", "momentum: 2").replace("epochs: 35", "epochs: x"))
    assert [line.split(":")[1].strip() for line in str(error.value).splitlines()] == ["epochs", "lr", "momentum"]


@pytest.mark.parametrize("text", ["", "[]", "lr", "3"])
def test_no_mapping(text: str) -> None:
    with pytest.raises(ParamsError, match="must hold `key: value` lines"):
        parse_params(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-05", 1e-5), ("1e-3", 1e-3), ("1E-3", 1e-3), ("1", 1.0), ("3e-1", 0.3)]
)
def test_numbers_as_dvc_writes_and_people_type_them(text: str, value: float) -> None:
    assert math.isclose(parse_params(changed("lr", text)).lr, value)


def test_combinations() -> None:
    with pytest.raises(ParamsError, match=r"plateau watches the validation loss.*must be > 0 \(got 0\)"):
        parse_params(changed("schedule", "plateau").replace("validation_size: 5000", "validation_size: 0"))
    with pytest.raises(ParamsError, match=r"from 10 to 1427 for digits.*\(got 5000\)\nparams.yaml: nesterov: true"):
        parse_params(changed("momentum", "0.0").replace("cifar10-jpeg #", "digits #"))


def test_committed_file_is_valid_and_commented() -> None:
    assert isinstance(parse_params(COMMITTED), Params)
    for line in COMMITTED.splitlines():
        if ":" in line and not line.startswith("#"):
            assert "# " in line, f"no meaning beside {line}"
