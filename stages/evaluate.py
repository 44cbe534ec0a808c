"""models/ and data/test → metrics/test.json, the predictions and scores per class in plots/."""

import numpy as np

from cifar10.mistakes import confident_mistakes
from cifar10.model import Net
from cifar10.params import Params
from cifar10.predict import predict, score
from cifar10.runtime import set_up
from cifar10.scoring import calibration_error, class_scores
from cifar10.statistics import Statistics
from stages.entry import run
from stages.files import read_json, read_split, read_weights, write_csv, write_figure, write_json


def evaluate(params: Params) -> None:
    runtime = set_up(params)
    facts, classes = read_json("metrics/dataset.json"), read_json("data/classes.json")
    images, labels = read_split("data/test")
    model = Net(params.execution, dropout=0.0)
    model.load_state_dict(read_weights("models/model.safetensors"))
    runtime.place(model)
    statistics = Statistics(facts["mean"], facts["std"])
    logits, averaged = predict(model, images, statistics, runtime, params.tta)

    confidence, predicted = (t.numpy() for t in logits.softmax(1).max(1))
    per_class = class_scores(predicted, labels, len(classes))
    result = score(logits, labels)
    scores = {
        "dataset": params.dataset,
        "accuracy": result.accuracy,
        "loss": result.loss,
        "macro_f1": float(np.mean(per_class.f1)),
        "calibration_error": calibration_error(logits, labels),
    }
    if params.tta != "none":
        scores["tta_accuracy"] = score(averaged, labels).accuracy
    write_json("metrics/test.json", scores)
    write_csv("plots/per_class.csv", ("class", *per_class._fields), zip(classes, *per_class, strict=True))
    pairs = ((classes[actual], classes[guess]) for actual, guess in zip(labels, predicted, strict=True))
    write_csv("plots/predictions.csv", ("actual", "predicted"), pairs)
    write_figure("plots/mistakes.png", lambda: confident_mistakes(images, labels, predicted, confidence, classes))


if __name__ == "__main__":
    run(evaluate)
