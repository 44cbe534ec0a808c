"""data/train and metrics/dataset.json → models/, metrics/train.json, metrics/run.json and the curves in plots/."""

import os
import sys
from pathlib import Path
from statistics import median

import torch

from cifar10.batches import augmenter, hold_out
from cifar10.checkpoint import Checkpoints
from cifar10.complexity import count_parameters, multiply_adds, receptive_field
from cifar10.model import Net
from cifar10.params import EVALUATION, MACHINE, Params
from cifar10.runtime import set_up
from cifar10.samples import augmented_examples, augmented_samples
from cifar10.statistics import Statistics
from cifar10.training import Training, train
from stages.entry import run
from stages.files import read_json, read_split, write_csv, write_figure, write_json, write_weights
from stages.identity import digest, not_resumed, remember, training_identity
from stages.lifetime import alone, noted_signals


def train_stage(params: Params) -> None:
    runtime = set_up(params)
    facts, classes = read_json("metrics/dataset.json"), read_json("data/classes.json")
    statistics = Statistics(facts["mean"], facts["std"])
    split, validation = hold_out(read_split("data/train"), params.validation_size, params.seed)

    torch.manual_seed(params.seed)
    model = Net(params.execution, params.dropout)
    training = Training(model, split, validation, statistics, params, runtime)
    identity = training_identity(params, runtime.describe())
    key = digest(identity)
    # DVC_ROOT: the main repository, also where DVC runs the experiment in a clone that it deletes afterwards.
    checkpoints = Checkpoints(Path(os.environ.get("DVC_ROOT", "."), "checkpoints", key[:16]), key)
    with alone(checkpoints.folder / "lock"):
        for line in not_resumed(checkpoints.folder, identity):
            print(line, file=sys.stderr)
        remember(checkpoints.folder, identity)
        with noted_signals() as stop:
            train(training, checkpoints, stop)
        history = training.history

        weights = {name: tensor.cpu().contiguous() for name, tensor in training.result.state_dict().items()}
        # Nothing of the machine, so that equal inputs give equal bytes.
        settings = params.model_dump(exclude=EVALUATION | MACHINE)
        about = {"classes": classes, **statistics._asdict(), "params": settings}
        write_weights("models/model.safetensors", weights, about)
        size = {"parameters": count_parameters(model), "receptive_field": receptive_field(model)}
        write_json("metrics/train.json", history.last() | size | {"multiply_adds": multiply_adds(model)})
        seconds = {"seconds": sum(history.seconds), "waiting_for_data": history.waiting}
        speed = seconds | {"images_per_second": median(history.images_per_second)}
        write_json("metrics/run.json", {name: round(value, 1) for name, value in speed.items()} | runtime.describe())
        for name in ("loss", "accuracy"):
            write_csv(f"plots/{name}.csv", ("epoch", "split", name), history.curve(name))
        write_csv("plots/lr.csv", ("step", "lr"), enumerate(history.lr))
        examples = augmented_examples(augmenter(params, statistics), split, params.seed)
        write_figure("plots/samples.png", lambda: augmented_samples(*examples, classes))
        checkpoints.remove()


if __name__ == "__main__":
    run(train_stage)
