import platform
import resource
from collections.abc import Iterator

import pytest
import torch

from cifar10.core.errors import ParamsError
from cifar10.core.params import Params
from cifar10.inference.runtime import set_up


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    torch.set_deterministic_debug_mode("default")


def test_auto_is_resolved(params: Params) -> None:
    runtime = set_up(params.model_copy(update={"device": "auto", "precision": "auto", "threads": "auto"}))
    assert runtime.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert runtime.precision in ("bf16", "fp32")
    assert set_up(params.model_copy(update={"precision": "fp32"})).precision == "fp32"
    assert set_up(params.model_copy(update={"threads": 1})).threads == torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"avx2": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"bf16": True, "sve": True}, "fp32")],
    ids=["AVX2", "AVX512-BF16", "ARM, where nobody has measured it"],
)
def test_auto_is_bf16_where_that_was_measured(
    params: Params, monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities)
    runtime = set_up(params.model_copy(update={"precision": "auto"}))
    assert runtime.precision == precision


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device_is_named(params: Params) -> None:
    with pytest.raises(ParamsError, match=r"params.yaml: device: no CUDA device .*\(got 'cuda'\)"):
        set_up(params.model_copy(update={"device": "cuda"}))


def test_deterministic_without_filling_new_tensors(params: Params) -> None:
    set_up(params.model_copy(update={"device": "cpu"}))
    assert torch.are_deterministic_algorithms_enabled()
    # Filled, a new tensor of floats would be NaN throughout; here it holds what was freed.
    freed = torch.zeros(1 << 20)
    del freed
    assert not torch.empty(1 << 20).isnan().all()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept(params: Params) -> None:
    set_up(params.model_copy(update={"device": "cpu"}))
    faults = []
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(8 << 20, dtype=torch.uint8) for _ in range(8)]
        del tensors
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    # 64 MB are 16,384 pages. What else lies on the heap makes some of them new for a few rounds, not for good.
    assert min(faults) < 2_000, faults
