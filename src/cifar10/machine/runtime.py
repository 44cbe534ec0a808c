"""Device, precision and threads, and what else of a machine may change the bits of a result."""

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from cifar10.core.errors import ParamsError
from cifar10.core.params import Params
from cifar10.machine.cores import Turn, own_cores, physical_cores, pin

LIBRARIES = ("torch", "numpy", "albumentations", "opencv-python-headless", "scikit-learn")


class Runtime(NamedTuple):
    device: torch.device
    precision: str  # bf16 | fp32
    threads: int
    turn: AbstractContextManager[None] = nullcontext()  # inside, the cores are this training's
    cores: frozenset[int] = frozenset()  # of this process, for its children; its threads have one each

    def place(self, model: nn.Module) -> None:
        """Move `model` to the device, its convolutions in the layout that is fast on CPUs and GPUs alike."""
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def autocast(self) -> AbstractContextManager[None]:
        """Convolutions in bf16 where `precision` says so; weights, BatchNorm statistics and loss stay in fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def describe(self) -> dict[str, object]:
        """What may make two machines differ in the last bits."""
        cuda = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "processor": _processor(),
            "system": f"{platform.system()} {platform.machine()}",
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "precision": self.precision,
            "threads": self.threads,
            "python": platform.python_version(),
            "versions": [f"{library} {version(library)}" for library in LIBRARIES],
        }


def set_up(params: Params) -> Runtime:
    """Resolve device, precision and threads, make PyTorch deterministic; ParamsError where there is no such device."""
    if params.device == "cuda" and not torch.cuda.is_available():
        raise ParamsError("params.yaml: device: no CUDA device on this machine; use auto or cpu (got 'cuda')")
    cuda = params.device != "cpu" and torch.cuda.is_available()
    precision = params.precision
    if precision == "auto":
        precision = "bf16" if _has_bf16(cuda) else "fp32"
    # PyTorch's own default, one per physical core, does not know of a container's quota.
    threads = min(torch.get_num_threads(), physical_cores()) if params.threads == "auto" else params.threads
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    # The same as use_deterministic_algorithms(True), which would import PyTorch's compiler for a second.
    torch.set_deterministic_debug_mode("error")
    # By default the line above also fills every new tensor with NaN, which costs a pass over its memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined] # else fp32 on a GPU means TF32, ten bits
    if cuda:
        return Runtime(torch.device("cuda"), precision, threads)
    cores = own_cores()
    turn = Turn(threads, cores)  # before this thread has one core only
    pin(threads, cores)
    return Runtime(torch.device("cpu"), precision, threads, turn, cores)


def _keep_freed_memory() -> None:
    """Have glibc keep freed memory; large tensors would go back to the kernel, which clears each page again."""
    if platform.libc_ver()[0] == "glibc":
        libc, m_trim_threshold, m_mmap_threshold = ctypes.CDLL(None), -1, -3
        libc.mallopt(m_mmap_threshold, 32 << 20)  # the most that it takes
        libc.mallopt(m_trim_threshold, 1 << 30)


def _processor() -> str:
    """The model name; oneDNN chooses its kernels, and so the order of additions, by the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _has_bf16(cuda: bool) -> bool:
    """Whether bf16 was measured to be faster than fp32 on such hardware; on ARM it was not measured."""
    if cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
