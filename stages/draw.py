"""Draw samples, preview, network, mistakes and examples to plots/, from models/, data/ and plots/predictions.csv."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cifar10.core.data import hold_out
from cifar10.core.files import write_atomically
from cifar10.core.params import Params
from cifar10.drawing.network import network_sheet
from cifar10.drawing.png import legible, png
from cifar10.drawing.samples import augmented_samples, clearest
from cifar10.drawing.test_images import Predictions, confident_mistakes, example_images
from cifar10.network.model_file import load_model
from stages.support.formats import explained, read_csv, read_split
from stages.support.start import run_stage

EXAMPLE = 7  # the class whose image is shown in network.png: CIFAR-10's horse


def draw(params: Params) -> None:
    with explained("models/model.safetensors"):
        network, classes, statistics = load_model("models/model.safetensors", "dense")
    names = legible(classes)
    images, labels = read_split("data/test")
    rows = read_csv("plots/predictions.csv", {"predicted": str, "confidence": float})
    with explained("plots/predictions.csv"):
        if len(rows) != len(labels):
            raise ValueError(f"{len(rows)} predictions for {len(labels)} images")
        predicted = np.array([classes.index(row["predicted"]) for row in rows])
    confidence = np.array([row["confidence"] for row in rows])
    predictions = Predictions(images, labels, predicted, confidence, names)

    split, _ = hold_out(read_split("data/train"), params.validation_size, params.seed)
    samples = clearest(split)
    for path, most in (("plots/samples.png", 10), ("plots/preview.png", 3)):
        shown = range(0, len(samples.labels), -(-len(samples.labels) // most))
        write_png(path, partial(augmented_samples, samples, names, statistics, params, shown))
    example = samples.images[min(EXAMPLE, len(samples.labels) - 1)]
    write_png("plots/network.png", lambda: network_sheet(network, example))
    write_png("plots/mistakes.png", lambda: confident_mistakes(predictions))
    write_png("plots/examples.png", lambda: example_images(predictions))


def write_png(path: str, draw_figure: Callable[[], Figure]) -> None:
    write_atomically(Path(path), png(draw_figure))


if __name__ == "__main__":
    run_stage(draw)
