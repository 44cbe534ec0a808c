"""The six stages as functions, for tests that run them in this process or fork it."""

from stages.compute_stats import compute_stats
from stages.download import download
from stages.draw import draw
from stages.evaluate import evaluate
from stages.export import export
from stages.train import train_stage

STAGES = {
    "download": download,
    "compute_stats": compute_stats,
    "train": train_stage,
    "evaluate": evaluate,
    "draw": draw,
    "export": export,
}
