"""Train on data/train and metrics/dataset.json; write models/, metrics/train.json, metrics/run.json and curves."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

from cifar10.complexity import size
from cifar10.core.data import Statistics, hold_out
from cifar10.core.errors import ParamsError, StoppedError, UserError
from cifar10.core.lock import hold
from cifar10.core.params import EVALUATION, MACHINE, Params, check_sizes
from cifar10.machine.runtime import Runtime, set_up
from cifar10.network.model import Net
from cifar10.network.model_file import load_features, save_model
from cifar10.training.checkpoints import Checkpoints
from cifar10.training.identity import digest, not_resumed, remember, training_identity
from cifar10.training.loop import DivergedError, Training, train
from stages.support.formats import (
    declared_files,
    explained,
    read_json,
    read_split,
    remove_readers_outputs,
    write_csv,
    write_json,
)
from stages.support.start import run_stage, short_of_memory
from stages.support.stop import noted_signals


def train_stage(params: Params) -> None:
    runtime = set_up(params)
    facts, classes = read_json("metrics/dataset.json"), read_json("data/classes.json")
    with explained("metrics/dataset.json"):
        statistics = Statistics(facts["mean"], facts["std"])
        check_sizes(params, dict(zip(classes, facts["counts"], strict=True)))
    split, validation = hold_out(read_split("data/train"), params.validation_size, params.seed)
    for i, name in enumerate(classes if params.validation_size else ()):
        if not (i in split.labels and i in validation.labels):
            raise ParamsError(
                f"params.yaml: validation_size: leaves the class {name} no image in one of the two parts; try another "
                f"size, or 0 (got {params.validation_size})"
            )

    torch.manual_seed(params.seed)
    model = Net(params.execution, params.dropout, len(classes))
    if params.pretrained:
        with explained("data/start.safetensors", "git restore release; "):
            load_features("data/start.safetensors", model)
    training = Training(model, split, validation, statistics, params, runtime)
    identity = training_identity(params, runtime.describe(), declared_files("train"))
    key = digest(identity)
    # DVC_ROOT is the main repository, even if DVC runs an experiment in a clone.
    checkpoints = Checkpoints(Path(os.environ.get("DVC_ROOT", "."), "checkpoints", key[:16]), key)
    with hold(checkpoints.folder / "lock", "this training"):
        for line in not_resumed(checkpoints.folder, identity):
            print(line, file=sys.stderr)
        remember(checkpoints.folder, identity)
        remove_readers_outputs("models/model.safetensors")  # which would stand beside this training's curves
        progress = partial(write_progress, training, runtime, size(model))
        run(training, checkpoints, progress)

        # The settings hold nothing about the machine, so that the same inputs give the same bytes.
        settings = params.model_dump(exclude=EVALUATION | MACHINE | {"augment_with"})
        if not params.pretrained:
            del settings["pretrained"]  # as in the files that were written before there was a choice
        save_model(Path("models/model.safetensors"), training.learner.network, classes, statistics, settings)
        progress()  # an earlier run may have finished the last epoch
        checkpoints.remove()


def run(training: Training, checkpoints: Checkpoints, after_epoch: Callable[[], None] = lambda: None) -> None:
    """Train to the end. Raise UserError, which says what to do next, if the training fails or is stopped."""
    try:
        with noted_signals() as stop:
            train(training, checkpoints, stop, after_epoch)
    except DivergedError as error:
        lower = training.params.lr / 10
        raise UserError(
            f"train: {error}; no network was written; try a lower one: dvc exp run --set-param lr={lower:g}"
        ) from None
    except (RuntimeError, MemoryError) as error:
        if short_of_memory(error):
            batch = training.params.batch_size
            smaller = f"; try smaller ones: dvc exp run --set-param batch_size={batch // 2}" if batch > 3 else ""
            raise UserError(f"train: there is too little memory for batches of {batch} images{smaller}") from None
        if "DataLoader worker (pid" not in str(error):  # PyTorch has no class for a worker's death
            raise
        said = str(error).splitlines()[0].rstrip(". ")
        raise UserError(
            f"train: a process that makes batches has died, often for want of memory: {said}. The "
            f"training is saved in {checkpoints.folder} up to its last epoch; resume it without such processes: "
            "dvc exp run --set-param workers=0"
        ) from None
    except StoppedError as error:
        raise StoppedError(f"train: {error}; run the same command again to resume", error.exit_code) from None


def write_progress(training: Training, runtime: Runtime, facts: dict[str, int]) -> None:
    """Write scores, time and machine so far, so that `dvc plots show` and `make watch` follow a running training."""
    history = training.history
    write_json("metrics/train.json", history.epochs[-1] | facts)
    for name in ("loss", "accuracy"):
        write_csv(f"plots/{name}.csv", ("epoch", "split", name, "best"), history.curve(name))
    write_csv("plots/lr.csv", ("step", "optimizer", "lr"), history.lr)

    speed = {
        "seconds": sum(history.seconds),
        "waiting_for_data": history.waiting,
        "images_per_second": median(history.images_per_second),
    }
    write_json("metrics/run.json", {name: round(value, 1) for name, value in speed.items()} | runtime.describe())


if __name__ == "__main__":
    run_stage(train_stage)
