"""A figure as PNG bytes, in the style of this project whatever the user's matplotlibrc says."""

import io
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

DPI = 100  # the sheets are laid out in pixels
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito's, distinct also for colour-blind readers
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "image.interpolation": "nearest"}


def png(draw: Callable[[], Figure]) -> bytes:
    """Draw and render under matplotlib's own defaults and STYLE."""
    raw, small = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type] # its keys are spelt out there
        draw().savefig(raw, format="png", dpi=DPI)
    # Without the alpha channel, as each experiment keeps its pictures in git.
    Image.open(raw).convert("RGB").save(small, "png", optimize=True)
    return small.getvalue()
