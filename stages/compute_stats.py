"""data/train → metrics/dataset.json: mean and std per channel, images per class."""

import numpy as np

from cifar10.params import Params
from cifar10.statistics import channel_statistics
from stages.entry import run
from stages.files import read_json, read_split, write_json


def compute_stats(_: Params) -> None:
    train, classes = read_split("data/train"), read_json("data/classes.json")
    counts = np.bincount(train.labels, minlength=len(classes)).tolist()
    statistics = channel_statistics(train.images)
    write_json("metrics/dataset.json", {**statistics._asdict(), "counts": dict(zip(classes, counts, strict=True))})


if __name__ == "__main__":
    run(compute_stats)
