"""data/train and metrics/dataset.json → models/, metrics/train.json, metrics/run.json and the curves in plots/."""

import json
from statistics import median

import torch
from safetensors.torch import save

from cifar10.augment import FlipAffineHole
from cifar10.batches import hold_out
from cifar10.complexity import count_parameters, multiply_adds, receptive_field
from cifar10.model import Net
from cifar10.params import Params
from cifar10.runtime import set_up
from cifar10.samples import augmented_examples, augmented_samples
from cifar10.statistics import Statistics
from cifar10.training import train
from stages.entry import run
from stages.files import read_json, read_split, write_bytes, write_csv, write_figure, write_json


def train_stage(params: Params) -> None:
    runtime = set_up(params)
    facts, classes = read_json("metrics/dataset.json"), read_json("data/classes.json")
    statistics = Statistics(facts["mean"], facts["std"])
    split, validation = hold_out(read_split("data/train"), params.validation_size, params.seed)
    examples = augmented_examples(FlipAffineHole(params.augmentation, statistics.mean), split, params.seed)
    write_figure("plots/samples.png", augmented_samples(*examples, classes))

    torch.manual_seed(params.seed)
    model = Net(params.execution, params.dropout)
    history = train(model, split, validation, statistics, params, runtime)

    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Nothing of the machine, so that equal inputs give equal bytes; one entry, because safetensors sorts no entries.
    machine = {"device", "augment_on", "precision", "threads", "workers"}
    about = {"classes": classes, **statistics._asdict(), "params": params.model_dump(exclude=machine)}
    write_bytes("models/model.safetensors", save(weights, {"cifar10": json.dumps(about)}))
    size = {"parameters": count_parameters(model), "receptive_field": receptive_field(model)}
    write_json("metrics/train.json", history.last() | size | {"multiply_adds": multiply_adds(model)})
    seconds = {"seconds": sum(history.seconds), "waiting_for_data": history.waiting}
    speed = seconds | {"images_per_second": median(history.images_per_second)}
    write_json("metrics/run.json", {name: round(value, 1) for name, value in speed.items()} | runtime.describe())
    for name in ("loss", "accuracy"):
        write_csv(f"plots/{name}.csv", ("epoch", "split", name), history.curve(name))
    write_csv("plots/lr.csv", ("step", "lr"), enumerate(history.lr))


if __name__ == "__main__":
    run(train_stage)
