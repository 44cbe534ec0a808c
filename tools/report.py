"""make report COMPARE=REV: write report.html, one self-contained page about the results, beside those of REV.

Every number on it is read from params.yaml, dvc.lock, metrics/ and plots/ of the workspace. REV is a commit, a branch
or the name of an experiment. The page holds no time of day: the same files give the same bytes.
"""

import base64
import math
import shlex
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.ticker import MaxNLocator
from PIL import Image

from cifar10.complexity import layer_sizes
from cifar10.core.errors import UserError
from cifar10.core.files import write_atomically
from cifar10.core.params import Params
from cifar10.pictures import printable
from stages.support.formats import read_split
from tools.params_editor import as_yaml
from tools.recipe import recipes
from tools.records import committed_params, workspace_params
from tools.repository import git
from tools.results import NUMBER, Results, resolve
from tools.start import argument_parser, run_tool
from tools.tryit import try_it

PAGE = Path("report.html")
MOST = 1_000  # mistakes that are shown


class Scale(NamedTuple):
    """Turn the numbers low...high into the places start...end of a drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low or 1) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(self.low, self.high)
        rounded = (round(float(tick), 9) for tick in ticks)
        return [tick for tick in rounded if self.low <= tick <= self.high]


def number(value: Any, sign: str = "") -> str:
    """Return a number with four decimal places, or one from 10 on, and None, which the other side lacks, as a dash."""
    if isinstance(value, list):
        return ", ".join(map(number, value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "-" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:{sign},}"
    places = ",.4f" if 0.001 <= abs(value) < 10 or not value else ",.1f" if abs(value) >= 10 else ".3g"
    return f"{value:{sign}{places}}"


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[tuple[str, Any, Any, str]]:
    """Return (name, here, there, here - there) of what is not equal. The last is empty if one is no number."""
    changed = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    both: list[tuple[str, Any, Any]] = [(name, here.get(name), there.get(name)) for name in changed]
    return [(n, a, b, number(a - b, "+") if type(a) in NUMBER and type(b) in NUMBER else "") for n, a, b in both]


def train_command(params: dict[str, Any]) -> str:
    """Return the command that makes these results in a clone of the commit."""
    base = committed_params("HEAD")
    for name, recipe in recipes().items():
        if base | recipe | {"seed": params["seed"]} == params:
            return f"make train RECIPE={name} SEED={params['seed']}"
    changes = [f" --set-param {shlex.quote(f'{name}={as_yaml(a)}')}" for name, a, _, _ in differences(params, base)]
    return f"dvc exp run{''.join(changes)}" if changes else "dvc repro"


def meanings(schema: Any = Params, prefix: str = "") -> dict[str, str]:
    """Return what the schema says of each parameter."""
    found: dict[str, str] = {}
    for name, field in schema.model_fields.items():
        inner = meanings(field.annotation, f"{prefix}{name}.") if hasattr(field.annotation, "model_fields") else {}
        found |= inner or {prefix + name: field.description}
    return found


class Gallery(NamedTuple):
    """Hold the pictures of all mistakes, side by side in one image, in the order of `Results.mistakes`."""

    data: str  # base64 of a WebP
    columns: int
    side: int  # pixels of a picture


def gallery(here: Results) -> Gallery | None:
    """Return None if there are no mistakes, or if data/test is not what the predictions are of."""
    try:
        images, labels = read_split("data/test")
        classes = here.metrics["dataset"]["classes"]
        of_them = [classes[label] for label in labels] == [row["actual"] for row in here.plots["predictions"]]
    except (UserError, LookupError):
        of_them = False
    if not here.mistakes or not of_them:
        return None
    columns, side = 40, images.shape[1]
    shown = here.mistakes[:MOST]
    sheet = Image.new("RGB", (columns * side, -(-len(shown) // columns) * side))
    for place, (_, number) in enumerate(shown):
        sheet.paste(Image.fromarray(images[number]), (place % columns * side, place // columns * side))
    file = BytesIO()
    sheet.save(file, "WEBP", quality=85)
    return Gallery(base64.b64encode(file.getvalue()).decode(), columns, side)


def templates() -> Environment:
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    environment.globals |= {"Scale": Scale, "log10": lambda value: math.log10(max(value, 1e-12))}
    return environment


def render(here: Results, there: Results | None) -> str:
    uncommitted = git("diff", "--name-only", "-z", "HEAD") + git("ls-files", "-o", "--exclude-standard", "-z")
    page = templates().get_template("report.html")
    return page.render(
        here=here,
        gallery=gallery(here),
        try_it=try_it(here.lock.outs.get("models/model.onnx")),
        most=MOST,
        there=there,
        both=[here, there] if there else [here],
        doubts=here.doubts(),
        meanings=meanings(),
        layers=layer_sizes(len(here.metrics["dataset"]["classes"])),
        differences=differences,
        commit=git("rev-parse", "HEAD"),
        uncommitted=sorted(map(printable, filter(None, uncommitted.split("\0")))),
        train_command=train_command(here.params),
    )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--compare", metavar="REV")
    rev = parser.parse_args().compare
    workspace_params()  # says what is wrong with it
    page = render(Results("the workspace"), resolve(rev) if rev else None).encode()
    write_atomically(PAGE, page)
    print(f"{PAGE.absolute().as_uri()}: {len(page) / 1e3:,.0f} kB, open it in a browser")


if __name__ == "__main__":
    run_tool("report", main)
