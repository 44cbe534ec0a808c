"""Say what each experiment of a sweep occupies: cores, a GPU, or a share of one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cifar10.core.errors import UserError
from tools.sweep.plan import Experiment

Machine = Mapping[str, Any]  # as ray.nodes() describes one

# MB of a GPU that a training takes, and that each image of a batch adds. These are estimates. `make bench` on a GPU
# measures the memory.
TRAINING, IMAGE = 2_500, 4


class Placed(NamedTuple):
    name: str
    changes: dict[str, Any]  # from the committed params.yaml
    resources: dict[str, float]  # as Ray calls them: num_gpus, num_cpus


def place(
    experiments: Sequence[Experiment],
    per_gpu: int,
    machines: Sequence[Machine],
    free_memory: Callable[[Machine], Sequence[int]],
) -> list[Placed]:
    """Return each experiment with its resources, `per_gpu` experiments on a GPU if a machine has one.

    `free_memory` returns the free memory of each GPU of a machine in MB, nothing if it is not known. Raise UserError if
    the machines do not have what is asked for.
    """
    with_gpu = [each for each in machines if each["Resources"].get("GPU")]
    if per_gpu > 1 and not with_gpu:
        raise UserError(f"PER_GPU={per_gpu}: there is no GPU here; leave PER_GPU out")
    sizes = [each.params["batch_size"] for each in experiments if uses_gpu(each)]
    if per_gpu > 1 and sizes:
        for machine in with_gpu:
            check_memory(machine, free_memory(machine), per_gpu, TRAINING + IMAGE * max(sizes))
    cores = min((each["Resources"].get("CPU", 0) // each["Resources"]["GPU"] for each in with_gpu), default=0)
    placement = [placed(each, bool(with_gpu), per_gpu, int(cores)) for each in experiments]
    asked = max(each.resources["num_cpus"] for each in placement)
    most = max(each["Resources"].get("CPU", 0) for each in machines)
    if asked > most:
        raise UserError(f"threads: must be auto or <= {most:.0f}, the cores of the largest machine (got {asked})")
    return placement


def uses_gpu(experiment: Experiment) -> bool:
    """Return whether it runs on a GPU if there is one."""
    return bool(experiment.params["device"] != "cpu" and experiment.params["precision"] != "portable")


def placed(experiment: Experiment, gpus: bool, per_gpu: int, cores: int) -> Placed:
    """Return what one experiment occupies: a share of a GPU, or as many cores as it names threads (auto: one).

    `cores` is how many of them its machine has for each GPU. Trainings that share a GPU share these cores as well.
    """
    params, changes = experiment.params, dict(experiment.changes)
    on_gpu = gpus and uses_gpu(experiment)
    if not on_gpu or per_gpu > 1:
        if params["threads"] == "auto":
            changes["threads"] = 1
        if params["workers"] == "auto":
            changes["workers"] = min(4, max(0, cores // per_gpu - 1)) if on_gpu else 0
    if not on_gpu:
        return Placed(experiment.name, changes, {"num_cpus": changes.get("threads", params["threads"])})
    # Ray counts in ten-thousandths and rounds them, and seven rounded sevenths are more than a GPU.
    return Placed(experiment.name, changes, {"num_gpus": 10_000 // per_gpu / 10_000, "num_cpus": 0})


def check_memory(machine: Machine, free: Sequence[int], per_gpu: int, one: int) -> None:
    """Raise UserError if a GPU has no room for `per_gpu` trainings of `one` MB each."""
    # Ray may use fewer GPUs than there are: at best those with the most free memory.
    least = min(sorted(free, reverse=True)[: int(machine["Resources"]["GPU"])], default=per_gpu * one)
    if least < per_gpu * one:
        fits = f"use PER_GPU={least // one}" if least >= one else "end what else uses it"
        raise UserError(
            f"PER_GPU={per_gpu}: needs about {per_gpu * one:,} MB of each GPU, but one of "
            f"{machine['NodeManagerHostname']} has {least:,} MB free; {fits}"
        )
