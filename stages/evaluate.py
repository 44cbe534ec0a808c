"""Evaluate models/ on data/test; write metrics/test.json, predictions and scores to plots/."""

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from cifar10.core.params import Params
from cifar10.evaluation.calibration import calibration_error, reliability
from cifar10.machine.runtime import set_up
from cifar10.network.model_file import load_model
from cifar10.predict import predict, score, wilson
from stages.support.formats import explained, read_split, write_csv, write_json
from stages.support.start import run_stage


def evaluate(params: Params) -> None:
    runtime = set_up(params)
    images, labels = read_split("data/test")
    with explained("models/model.safetensors"):
        network, classes, statistics = load_model("models/model.safetensors", params.execution)
    runtime.place(network)
    logits, averaged = predict(network, images, statistics, runtime, params.tta)

    confidence, predicted = (t.numpy() for t in logits.softmax(1).max(1))
    per_class = precision_recall_fscore_support(labels, predicted, labels=range(len(classes)), zero_division=0)[:3]
    result = score(logits, labels)
    low, high = wilson(result.accuracy, len(labels))
    scores = {
        "dataset": params.dataset,
        "accuracy": result.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": result.loss,
        "macro_f1": float(per_class[2].mean()),
        "calibration_error": calibration_error(logits, labels),
    }
    if params.tta != "none":
        scores["tta_accuracy"] = score(averaged, labels).accuracy
    write_json("metrics/test.json", scores)
    write_csv("plots/per_class.csv", ("class", "precision", "recall", "f1"), zip(classes, *per_class, strict=True))
    names = np.array(classes)
    rows = zip(names[labels], names[predicted], (f"{p:.6f}" for p in confidence), strict=True)
    write_csv("plots/predictions.csv", ("actual", "predicted", "confidence"), rows)
    write_csv("plots/reliability.csv", ("confidence", "accuracy", "images"), reliability(logits, labels))


if __name__ == "__main__":
    run_stage(evaluate)
