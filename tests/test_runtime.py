import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from joblib import cpu_count

from cifar10.core.errors import ParamsError, UserError
from cifar10.core.params import Params
from cifar10.machine import cores
from cifar10.machine.cores import Crowd, Turn, own_cores
from cifar10.machine.runtime import PORTABLE, Runtime, set_up
from cifar10.training.batches import _begin_worker
from tests.clone import PARAMS, ROOT


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("default")


def test_auto_is_resolved(params: Params) -> None:
    runtime = set_up(params.model_copy(update={"device": "auto", "precision": "auto", "threads": "auto"}))
    assert runtime.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert runtime.precision in ("bf16", "fp32")
    assert set_up(params.model_copy(update={"precision": "fp32"})).precision == "fp32"
    assert set_up(params.model_copy(update={"threads": 1})).threads == torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx2": True, "cpu_name": "AMD EPYC"}, "fp32"),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "bf16"),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, "fp32"),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, "bf16"),
        ({"bf16": True, "sve": True}, "fp32"),
    ],
    ids=["AVX2", "AVX512-BF16", "of Intel", "of Intel, with AMX", "ARM, where nobody has measured it"],
)
def test_auto_is_bf16_where_that_was_measured(
    params: Params, monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], precision: str
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities)
    runtime = set_up(params.model_copy(update={"precision": "auto"}))
    assert runtime.precision == precision


def test_portable_is_one_thread_and_refused_if_pytorch_uses_other_instructions(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PORTABLE:
        monkeypatch.setenv(name, "as it was")
    portable = params.model_copy(update={"precision": "portable", "device": "auto", "threads": "auto"})
    monkeypatch.setattr("cifar10.machine.runtime.pin", lambda *_: None)  # it would bind this process for good
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    runtime = set_up(portable)
    assert (runtime.device.type, runtime.threads, runtime.describe()["precision"]) == ("cpu", 1, "portable")
    assert {name: os.environ[name] for name in PORTABLE} == PORTABLE
    with runtime.autocast():
        assert torch.nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.float32
    assert set_up(portable.model_copy(update={"threads": 2})).threads == 2
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    with pytest.raises(ParamsError, match=r"precision: portable needs .* \(got 'portable', PyTorch uses AVX512\)$"):
        set_up(portable)


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


def test_auto_is_not_more_threads_than_a_container_may_use(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch counts the machine's cores; joblib knows of a quota (cgroups) and of an affinity."""
    monkeypatch.setattr("cifar10.machine.cores.cpu_count", lambda **_: 2)
    monkeypatch.setattr("cifar10.machine.runtime.pin", lambda *_: None)
    torch.set_num_threads(3)
    assert set_up(params.model_copy(update={"threads": "auto"})).threads == torch.get_num_threads() == 2
    assert set_up(params.model_copy(update={"threads": 3})).threads == torch.get_num_threads() == 3


def test_a_gpu_that_another_program_has_taken_is_one_line() -> None:
    class Model(torch.nn.Module):
        def to(self, *_: Any, **__: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB.\nMore lines.")

    said = r"^device: the GPU cannot be used: CUDA out of memory\. Tried to allocate 2 MiB; use cpu, or wait if another"
    with pytest.raises(UserError, match=said):
        Runtime(torch.device("cuda"), "fp32", 1).place(Model())
    with pytest.raises(torch.OutOfMemoryError):  # of a CPU, which has a message of its own
        Runtime(torch.device("cpu"), "fp32", 1).place(Model())


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Turn]:
    """Turns on three cores that nobody else knows of."""
    monkeypatch.setattr("cifar10.machine.cores.QUEUE", f"\0test {os.getpid()} next")
    monkeypatch.setattr("cifar10.machine.cores.cpu_count", lambda: 3)

    def make(threads: int) -> Turn:
        made = Turn(threads, range(3))
        made.names = [f"\0test {os.getpid()} core {core}" for core in range(3)]
        return made

    return make


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these names")


@linux
def test_each_thread_has_a_core_of_its_own() -> None:
    """In a process of its own, with as many threads as cores."""
    code = """
import os, sys
from cifar10.core.params_file import parse_params
from cifar10.machine.cores import own_cores, pin
from cifar10.machine.runtime import set_up
cores = own_cores()
pin(len(cores) + 1, cores)
assert own_cores() == cores  # not as many: no thread is bound
runtime = set_up(parse_params(sys.stdin.read()).model_copy(update={"threads": len(cores)}))
assert runtime.cores == cores
assert runtime.turn.threads == len(runtime.turn.names) == len(cores)
bound = [tuple(os.sched_getaffinity(int(thread))) for thread in os.listdir("/proc/self/task")]
print(len(cores) == 1 or {(core,) for core in cores} <= set(bound) and os.sched_getaffinity(0) != cores)
"""
    if cpu_count() < len(own_cores()):
        pytest.skip("a quota allows fewer threads than there are cores")
    environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count()), "PYTHONPATH": str(ROOT / "src")}
    output = subprocess.check_output([sys.executable, "-c", code], input=PARAMS, env=environment, encoding="utf-8")
    assert output == "True\n"


@linux
def test_workers_have_all_cores() -> None:
    every = own_cores()

    def work() -> None:
        os.sched_setaffinity(0, {min(every)})
        _begin_worker(every, 0)
        os._exit(os.sched_getaffinity(0) != every)

    process = get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0


@linux
def test_turns_are_on_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar10.machine.cores.cpu_count", lambda: 2)  # by a quota
    made = [Turn(threads, {9, 5, 3}) for threads in (1, 2, 3)]
    assert [(each.threads, each.crowd is None) for each in made] == [(1, True), (2, False), (2, False)]
    assert made[0].names == ["\0cifar10 core 3", "\0cifar10 core 5"]


@linux
def test_two_trainings_take_turns_on_the_cores(turn: Callable[[int], Turn]) -> None:
    steps, ended, barrier = list[str](), list[str](), Barrier(2)

    def train(name: str) -> None:
        mine = turn(2)
        barrier.wait()
        for _ in range(20):
            with mine:
                steps.append(f"{name} begins")
                while not ended and (nobody := cores._taken(cores.QUEUE)):  # until the other waits for its turn
                    nobody.close()
                    time.sleep(0.001)
                steps.append(f"{name} ends")
        ended.append(name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(train, "ab"))
    assert len(steps) == 80
    assert all(a[0] == b[0] for a, b in zip(steps[::2], steps[1::2], strict=True))  # never both at once
    assert "".join(step[0] for step in steps[::2]) in ("ab" * 20, "ba" * 20)  # nobody is overtaken


@linux
def test_who_fits_beside_does_not_wait_and_no_turn_is_waited_for_without_end(
    turn: Callable[[int], Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar10.machine.cores.PATIENCE", 0.2)
    first, beside, third = turn(2), turn(1), turn(1)
    with first, beside:
        assert len(beside.held) == 1
        for patience in (0.2, 0.0):  # whoever has the cores may have been stopped: later steps do not wait at all
            assert third.patience == patience
            with third:
                assert third.held == []
        assert third.patience == 0.0
    with third:
        assert len(third.held) == 1


def test_a_crowd_is_named_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock, waited = [100.0], [5.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(Crowd, "_waited", lambda _: waited[0])
    crowd = Crowd()

    def after(seconds: float, more: float) -> str:
        clock[0] += seconds
        waited[0] += more
        crowd.warn()
        return capsys.readouterr().err

    assert after(9, 8) == ""  # not yet ten seconds
    assert after(1, -8) == ""  # of which it waited for none
    assert after(10, 2) == ""
    assert "threads: 1" in after(10, 3)
    assert after(100, 90) == ""


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="this system does not count")
def test_the_kernel_counts_the_wait_for_a_core() -> None:
    assert Crowd._waited() > 0
