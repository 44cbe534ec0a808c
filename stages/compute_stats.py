"""Write metrics/dataset.json from data/train: mean and std per channel, images per class."""

import numpy as np

from cifar10.channel_statistics import channel_statistics
from cifar10.core.params import Params
from stages.support.formats import read_json, read_split, write_json
from stages.support.start import run_stage


def compute_stats(_: Params) -> None:
    train, classes = read_split("data/train"), read_json("data/classes.json")
    counts = np.bincount(train.labels, minlength=len(classes)).tolist()
    # `dvc metrics show` leaves lists out, so these do not clutter it.
    facts = {"images": len(train.labels), "classes": classes, "counts": counts}
    write_json("metrics/dataset.json", facts | channel_statistics(train.images)._asdict())


if __name__ == "__main__":
    run_stage(compute_stats)
