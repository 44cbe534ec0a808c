"""Set up device, precision and threads, and describe what else of a machine may change the bits of a result."""

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from cifar10.core.errors import ParamsError, UserError
from cifar10.core.params import Params
from cifar10.machine.cores import Turn, own_cores, physical_cores, pin

# What `precision: portable` asks of PyTorch, oneDNN and MKL. Most processors have AVX2 since 2013 or 2015.
# MKL has other code for AVX2 on each of them, so here it uses the code that all of them share.
PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
LIBRARIES = ("torch", "numpy", "albumentations", "opencv-python-headless", "scikit-learn")


class Runtime(NamedTuple):
    device: torch.device
    precision: str  # bf16 | fp32 | portable, which is fp32
    threads: int
    turn: AbstractContextManager[None] = nullcontext()  # inside, no other training uses these cores
    cores: frozenset[int] = frozenset()  # for child processes, because each thread of this one has one core

    def place(self, model: nn.Module) -> None:
        """Move `model` to the device, in the memory layout that is fast for convolutions.

        Raise UserError if the GPU cannot be used, for example because another program has taken it.
        """
        try:
            model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except RuntimeError as error:  # PyTorch's, of many lines
            if self.device.type != "cuda":
                raise
            said = str(error).splitlines()[0].rstrip(".")
            advice = "use cpu, or wait if another program has taken it"
            raise UserError(f"device: the GPU cannot be used: {said}; {advice}") from None

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context for convolutions in bf16 if `precision` says so; weights and loss stay in fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def describe(self) -> dict[str, object]:
        """Return what may make the results of two machines differ in the last bits."""
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
    """Resolve device, precision and threads; make PyTorch deterministic. Raise ParamsError if the machine cannot."""
    if params.device == "cuda" and not torch.cuda.is_available():
        raise ParamsError("params.yaml: device: no CUDA device on this machine; use auto or cpu (got 'cuda')")
    precision = params.precision
    if precision == "portable":
        _be_portable()
    cuda = params.device != "cpu" and precision != "portable" and torch.cuda.is_available()
    if precision == "auto":
        precision = "bf16" if _has_bf16(cuda) else "fp32"
    # PyTorch's own default, one per physical core, does not know of a container's quota.
    most = 1 if precision == "portable" else physical_cores()  # their number changes bits
    threads = min(torch.get_num_threads(), most) if params.threads == "auto" else params.threads
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    # use_deterministic_algorithms(True) does the same, but imports PyTorch's compiler, which only train needs.
    torch.set_deterministic_debug_mode("error")
    # By default the line above also fills every new tensor with NaN, which costs a pass over its memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined] # otherwise fp32 on a GPU means TF32, with ten bits
    if cuda:
        return Runtime(torch.device("cuda"), precision, threads)
    cores = own_cores()
    turn = Turn(threads, cores)  # before `pin` leaves this thread one core
    pin(threads, cores)
    return Runtime(torch.device("cpu"), precision, threads, turn, cores)


def _be_portable() -> None:
    """Choose instructions for the rest of this process, which must not have computed anything with PyTorch yet."""
    os.environ.update(PORTABLE)
    if (capability := torch.backends.cpu.get_cpu_capability()) != "AVX2":
        raise ParamsError(
            "params.yaml: precision: portable needs an x86-64 processor with AVX2, and a process of its own; use auto "
            f"(got 'portable', PyTorch uses {capability})"
        )


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory. By default, large tensors go back to the kernel, which clears each page again."""
    if platform.libc_ver()[0] == "glibc":
        libc, m_trim_threshold, m_mmap_threshold = ctypes.CDLL(None), -1, -3
        libc.mallopt(m_mmap_threshold, 32 << 20)  # the maximum
        libc.mallopt(m_trim_threshold, 1 << 30)


def _processor() -> str:
    """Return the model name. oneDNN chooses its kernels, and so the order of additions, by the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _has_bf16(cuda: bool) -> bool:
    """Return whether bf16 was measured to be faster than fp32 on such hardware; it was not measured on ARM.

    With AVX512-BF16 it is 2.2 to 2.5 times as fast on AMD's processors. On Intel's it is slower, 0.77 times, as they
    multiply bf16 at the rate of fp32, unless they have AMX.
    """
    if cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") and (found.get("amx_bf16") or "Intel" not in str(found.get("cpu_name"))))
