"""Write params.dataset to data/: training and test split as arrays, class names, and the network to start from."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from cifar10.core.files import write_atomically
from cifar10.core.params import Params
from cifar10.sources.datasets import load_dataset
from cifar10.sources.pictures import read_pictures
from stages.support.formats import read_bytes, write_json, write_split
from stages.support.start import run_stage


def download(params: Params) -> None:
    mirror = os.environ.get("DATA_MIRROR")
    if mirror and "://" not in mirror:
        # The path is relative to the main repository, even in a temporary clone.
        mirror = str(Path(os.environ.get("DVC_ROOT", "."), mirror).resolve())
    if params.dataset == "pictures":
        dataset = read_pictures("pictures")
    else:
        dataset = load_dataset(params.dataset, user_cache_path("cifar10"), mirror)
    write_split("data/train", dataset.train)
    write_split("data/test", dataset.test)
    write_json("data/classes.json", dataset.classes)
    # DVC knows no optional dependency, so there is a file in any case. If train depended on the release, which is made
    # of its result, each release would make it outdated.
    start = read_bytes("release/cifar10.safetensors", "git restore release") if params.pretrained else b"none\n"
    write_atomically(Path("data/start.safetensors"), start)


if __name__ == "__main__":
    run_stage(download)
