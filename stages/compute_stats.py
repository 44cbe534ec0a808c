"""data/train → metrics/dataset.json: mean and std per channel, images per class."""

import numpy as np

from cifar10.params import Params
from cifar10.statistics import channel_statistics
from stages.entry import run
from stages.files import read_json, read_split, write_json


def compute_stats(_: Params) -> None:
    train, classes = read_split("data/train"), read_json("data/classes.json")
    counts = np.bincount(train.labels, minlength=len(classes)).tolist()
    # DVC's tables leave lists out, which keeps `dvc metrics show` to the scalars that fit a screen.
    facts = {"images": len(train.labels), "classes": classes, "counts": counts}
    write_json("metrics/dataset.json", facts | channel_statistics(train.images)._asdict())


if __name__ == "__main__":
    run(compute_stats)
