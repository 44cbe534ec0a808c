"""One editor of params.yaml: values change, comments and order stay."""

import pytest

from tests.clone import PARAMS
from tools.params_editor import edited, flat


def test_nothing_but_the_values_changes() -> None:
    assert edited(PARAMS, {}) == PARAMS
    before = PARAMS.splitlines()
    after = edited(PARAMS, {"lr": 0.01, "muon.lr_ratio": 0.1, "nesterov": False}).splitlines()
    changed = [line.split("#")[0].strip() for line, old in zip(after, before, strict=True) if line != old]
    assert changed == ["lr: 0.01", "nesterov: false", "lr_ratio: 0.1"]
    assert [line.partition("#")[2] for line in after] == [line.partition("#")[2] for line in before]


@pytest.mark.parametrize(
    ("text", "written"), [("1e-05", "1e-05"), ("auto", "auto"), ("true", "true"), ("", ""), ("'0.1'", "'0.1'")]
)
def test_a_string_is_read_as_yaml(text: str, written: str) -> None:
    (line,) = [line for line in edited(PARAMS, {"lr": text}).splitlines() if line.startswith("lr:")]
    assert line.partition("#")[0].strip() == f"lr: {written}".strip()


@pytest.mark.parametrize("name", ["rate", "muon.rate", "rates.muon"])
def test_a_new_key_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        edited(PARAMS, {name: 1})


def test_flat_names_are_those_of_set_param() -> None:
    assert flat({"lr": 1, "muon": {"lr_ratio": 2, "a": {"b": 3}}}) == {"lr": 1, "muon.lr_ratio": 2, "muon.a.b": 3}
