"""Compare the speed with the tutorial loop and the machine, in about ten minutes. Run nothing else meanwhile.

On a GPU, the last part measures many trainings at once instead of the stages. docs/performance.md explains the method.
"""

import os
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import gpu
from benchmarks.hotspots import hotspots, matmul_flops
from benchmarks.processes import imports, memory, pipeline, with_recipe
from benchmarks.tutorial import STATISTICS, Tutorial, pictures, timed, tutorial_loader
from cifar10.complexity import multiply_adds
from cifar10.core.data import Split
from cifar10.core.params import Params
from cifar10.core.params_file import parse_params
from cifar10.machine.runtime import set_up
from cifar10.network.model import Net
from cifar10.predict import predict
from cifar10.training.batches import batch_loader
from cifar10.training.history import History
from cifar10.training.loop import Training, train
from tools.start import run_tool

ROUNDS, IMAGES = 5, 6_400
CIFAR10 = 50_000  # training images


def compare(name: str, ours: Callable[[], float], tutorial: Callable[[], float]) -> tuple[float, float]:
    """Print and return our images per second and the ratio, medians over the rounds. The calls return seconds."""
    ours(), tutorial()  # warm up
    rounds = [(ours(), tutorial()) for _ in range(ROUNDS)]
    fast: float = IMAGES / median(a for a, _ in rounds)
    slow: float = IMAGES / median(b for _, b in rounds)
    ratios = sorted(b / a for a, b in rounds)
    print(f"{name:<28} {fast:>8,.0f} {slow:>10,.0f} {median(ratios):>7.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return fast, median(ratios)


def main() -> None:
    params = parse_params(with_recipe("default"))
    runtime = set_up(params)
    if runtime.cores:  # child processes, such as the tutorial's, may use all cores
        os.sched_setaffinity(0, runtime.cores)
    machine = runtime.describe()
    print(f"{machine['device']}, {machine['instruction_set']}, {runtime.threads} threads, {runtime.precision}\n")
    split, nothing = pictures(IMAGES), pictures(0)

    def training(images: Split, params: Params, epochs: int = 1) -> History:
        model = Net(params.execution, params.dropout, classes=10)
        with Path(os.devnull).open("w", encoding="utf-8") as null, redirect_stdout(null):
            changed = params.model_copy(update={"epochs": epochs})
            run = Training(model, images, nothing, STATISTICS, changed, runtime)
            train(run)
            return run.history

    def ours(params: Params) -> float:
        history = training(split, params, epochs=2)  # the second epoch is like all later epochs of a run
        waits.append(history.waiting / sum(history.seconds))
        # The recalibration after an epoch is left out, because it weighs too much in an epoch as short as this.
        steps = IMAGES / history.images_per_second[-1]
        recalibrations.append(history.seconds[-1] - steps)
        return steps

    waits, recalibrations = list[float](), list[float]()
    here = params.model_copy(update={"workers": 0, "augment_with": "fused"})
    loader, _ = batch_loader(split, STATISTICS, here)
    by_image = here.model_copy(update={"augment_with": "albumentations"})
    specification, _ = batch_loader(split, STATISTICS, by_image)
    fast, reference = (parse_params(with_recipe(name)) for name in ("fast", "reference"))
    without_sam = params.model_copy(update={"sam_rho": 0.0})
    plain = without_sam.model_copy(update={"optimizer": "sgd", "ema": 0.0})
    slow_loader = tutorial_loader(split, STATISTICS, reference.augmentation)
    tutorial = Tutorial(IMAGES, reference.augmentation)
    print(f"{'images a second':<28} {'ours':>8} {'tutorial':>10} {'ratio':>7}")
    consumed, _ = compare("train", lambda: ours(params), lambda: tutorial.seconds("train"))
    waiting, recalibration = median(waits), median(recalibrations)
    _, faster = compare("train, recipe fast", lambda: ours(fast), lambda: tutorial.seconds("train"))
    single, _ = compare("train without SAM (2nd: with)", lambda: ours(without_sam), lambda: ours(params))
    bare, cost = compare("train, plain SGD (2nd: Muon)", lambda: ours(plain), lambda: ours(without_sam))
    made, _ = compare("input (ours: one core)", partial(timed, list, loader), partial(timed, list, slow_loader))
    compare("input: fused, specification", partial(timed, list, loader), partial(timed, list, specification))
    model = Net(params.execution, 0.0, classes=10)
    runtime.place(model)
    whole = partial(timed, predict, model, split.images, STATISTICS, runtime)
    compare("inference", whole, lambda: tutorial.seconds("predict"))
    tutorial.process.communicate()
    print(f"\ninput makes {made / consumed:.1f} times what training consumes; training waits {waiting:.1%} for it")
    print(f"BatchNorm's recalibration after each epoch: {recalibration:.1f} s")
    cost += recalibration * bare / (CIFAR10 - params.validation_size)
    print(f"with it, averages and Muon, but not SAM, an epoch takes {cost:.2f} times as long as with plain SGD")
    images, others = (p.epochs * (CIFAR10 - p.validation_size) for p in (fast, reference))
    print(f"the {fast.epochs} epochs of fast: 1/{faster * others / images:.1f} of the tutorial's {reference.epochs}")

    flops, peak = 6 * multiply_adds(model) * single, matmul_flops(runtime)
    reached = f"{flops / 1e9:,.0f} GFLOP/s of the {peak / 1e9:,.0f}"
    print(f"training without SAM: {reached} that a large matrix product reaches here")
    print("\nwhere a step's time goes")
    for share, name in hotspots(params, runtime):
        print(f"  {share:>6.1%}  {name}")

    if runtime.device.type == "cuda":
        print()
        return gpu.measure(count=16, epochs=35, images=CIFAR10)

    print("\nseconds an epoch, images a second")
    for images in (10_000, 20_000, 40_000):
        seconds = median(training(pictures(images), params).seconds[0] for _ in range(3))
        print(f"  {images:>6,} images: {seconds:>5.1f} s, {images / seconds:,.0f} images/s")

    print("\nimport of each stage, seconds above a bare python; heavy libraries that it loads")
    for name, seconds, libraries in imports():
        print(f"  {name:<14} {seconds:>5.2f}  {', '.join(libraries)}")
    print("\ndvc on digits, two epochs, seconds")
    for name, seconds in pipeline():
        print(f"  {name:<28} {seconds:>5.1f}")
    print("\npeak memory with 50,000 training images, MB")
    for name, megabytes in memory(pictures(50_000), pictures(10_000)):
        print(f"  {name:<14} {megabytes:>6,.0f}")
    return None


if __name__ == "__main__":
    run_tool("bench", main)
