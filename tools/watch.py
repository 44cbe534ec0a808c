"""make watch: write watch.html every few seconds while a training runs: its curves, images a second and time left.

The page loads itself again. This command ends when no stage runs any more, or with Ctrl-C.
"""

import json
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from cifar10.core import duration
from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from cifar10.core.lock import is_held
from stages.support.formats import read_csv
from tools.records import BROKEN, load_params
from tools.report import templates
from tools.results import PLOTS
from tools.start import run_tool

PAGE, STAGE = Path("watch.html"), Path(".dvc/tmp/stage.lock")
EVERY, PATIENCE = 5, 4  # seconds from page to page, and pages without a running stage before this ends


def page(running: bool) -> bytes:
    here = SimpleNamespace(plots={}, run={}, epochs="?", done=0, left="", saved=any(Path("checkpoints").glob("*/*.pt")))
    try:
        here.epochs = load_params(Path("params.yaml").read_bytes())["epochs"]
        if running:  # while `download` runs, DVC has deleted it, and plots/ is of an earlier training
            Path("data/classes.json").stat()
        run = json.loads(Path("metrics/run.json").read_bytes())
        here.run = {key: run[key] for key in ("images_per_second", "processor", "precision", "threads", "seconds")}
        plots = {name: read_csv(f"plots/{name}.csv", PLOTS[name]) for name in ("loss", "accuracy", "lr")}
        here.done = plots["loss"][-1]["epoch"]
        if not (running or here.saved):  # whatever params.yaml says by now
            here.epochs = here.done
        here.left = duration(max(0, here.epochs - here.done) * here.run["seconds"] / here.done)
        here.plots = plots
    except (UserError, *BROKEN):  # no epoch has finished yet
        pass
    values = {"here": here, "both": [here], "there": None, "every": EVERY, "running": running}
    return templates().get_template("watch.html").render(values).encode()


def main() -> None:
    print(f"{PAGE.absolute().as_uri()}: open it in a browser; Ctrl-C ends it", flush=True)
    with suppress(KeyboardInterrupt):
        quiet = 0
        while quiet < PATIENCE:
            running = is_held(STAGE)
            write_atomically(PAGE, page(running))
            quiet = 0 if running else quiet + 1
            time.sleep(EVERY)


if __name__ == "__main__":
    run_tool("watch", main)
