"""Render a figure as PNG in this project's style, whatever the user's matplotlibrc says."""

import io
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

DPI = 100  # the sheets are laid out in pixels
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito's, distinct also for colour-blind readers
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.interpolation": "nearest",
    "text.parse_math": False,  # a class may be called $x$
}


def legible(classes: Sequence[str], longest: int = 10) -> list[str]:
    """Return different names of the classes for a picture: shortened, or a number if the font lacks a letter."""
    letters = get_font(findfont("DejaVu Sans")).get_charmap()  # matplotlib's own font
    short = [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in classes]
    shown = [short.count(name) == 1 and all(ord(letter) in letters for letter in name) for name in short]
    names = [name if shown[i] else f"class {i}" for i, name in enumerate(short)]
    return names if len(set(names)) == len(names) else [f"class {i}" for i in range(len(names))]


def png(draw: Callable[[], Figure]) -> bytes:
    """Return the figure that `draw` makes as PNG, under matplotlib's defaults and STYLE."""
    raw, small = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type] # its keys are spelt out there
        draw().savefig(raw, format="png")
    # Without the alpha channel, the pictures that git keeps of each experiment are smaller.
    Image.open(raw).convert("RGB").save(small, "png", optimize=True)
    return small.getvalue()
