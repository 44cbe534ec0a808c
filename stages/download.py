"""params.dataset → data/: the training and test split as arrays, and the class names."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from cifar10.datasets import load_dataset
from cifar10.params import Params
from stages.entry import run
from stages.files import write_json, write_split


def download(params: Params) -> None:
    mirror = os.environ.get("DATA_MIRROR")
    if mirror and "://" not in mirror:
        # Relative to the main repository, wherever DVC runs this experiment.
        mirror = str(Path(os.environ.get("DVC_ROOT", "."), mirror).resolve())
    dataset = load_dataset(params.dataset, user_cache_path("cifar10"), mirror)
    write_split("data/train", dataset.train)
    write_split("data/test", dataset.test)
    write_json("data/classes.json", dataset.classes)


if __name__ == "__main__":
    run(download)
