"""Measure on which operations a training step spends its time, and how fast the machine multiplies matrices."""

import time
from collections import defaultdict
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.tutorial import timed
from cifar10.core.params import Params
from cifar10.machine.runtime import Runtime
from cifar10.network.model import Net
from cifar10.training.optimizers import build_optimizers

KINDS = {
    "convolution.": "convolution",
    "convolution_backward.": "convolution",
    "native_batch_norm": "BatchNorm, both ways",
    "relu": "ReLU, both ways",
    "threshold_backward": "ReLU, both ways",
    "_fused_": "optimizer",
}


class Clock(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Add up the seconds of each operation, convolutions by shape; torch.profiler would double such short times."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        started = time.perf_counter()
        result = operation(*args, **(kwargs or {}))
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the GPU may still be running when Python continues
        name = str(operation).removeprefix("aten.")
        kind = next((kind for prefix, kind in KINDS.items() if name.startswith(prefix)), "everything else")
        if kind == "convolution":
            way = "backward" if "backward" in name else "forward"
            images, weight = args[1:3] if way == "backward" else args[:2]
            kind = f"{kind} {weight.shape[1]} to {weight.shape[0]} at {images.shape[-1]}x{images.shape[-1]}, {way}"
        self.seconds[kind] += time.perf_counter() - started
        return result


def hotspots(params: Params, runtime: Runtime, steps: int = 30, most: int = 5) -> list[tuple[float, str]]:
    """Return share of a step's time and name of the `most` slowest operations, then the sum of the rest."""
    model = Net(params.execution, params.dropout, classes=10).train()
    runtime.place(model)
    optimizers = build_optimizers(model, params)
    images = torch.randn(params.batch_size, 3, 32, 32, device=runtime.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (params.batch_size,), device=runtime.device)
    clock = Clock()
    for step in range(steps + 3):
        if step == 3:  # warm by now
            clock.seconds.clear()
        with clock:
            with runtime.autocast():
                logits = model(images)
            model.zero_grad()
            F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
            for optimizer in optimizers:
                optimizer.step()
    total = sum(clock.seconds.values())
    ranked = sorted(((seconds / total, name) for name, seconds in clock.seconds.items()), reverse=True)
    return [*ranked[:most], (sum(share for share, _ in ranked[most:]), f"{len(ranked) - most} others")]


def matmul_flops(runtime: Runtime, side: int = 2048) -> float:
    """Return the floating-point operations a second of a product of two large matrices."""
    dtype = torch.bfloat16 if runtime.precision == "bf16" else torch.float32
    matrix = torch.randn(side, side, dtype=dtype, device=runtime.device)
    seconds = median(timed(lambda: torch.mm(matrix, matrix)[0, 0].item()) for _ in range(10))  # item() waits for a GPU
    return 2 * side**3 / seconds
