"""Draw a sheet of small images, each pixel enlarged to a whole number of pixels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifar10.drawing.png import DPI

GAP, FRAME, LINE, MARGIN = 10, 3, 13, 12  # pixels: between images, around one, a line of text, around the sheet


class Cell(NamedTuple):
    image: NDArray[np.uint8]  # (H, W, 3)
    caption: str = ""  # lines below the image; if there are several, the first is bold
    frame: str = ""  # colour of the frame, empty for none


def sheet(
    rows: Sequence[Sequence[Cell]],
    title: str,
    subtitle: str = "",
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    zoom: int = 3,
) -> Figure:
    """Draw `rows` of cells, all images square and of one size, with labels left of the rows and above the columns."""
    side, columns = zoom * rows[0][0].image.shape[0] if rows else 0, max(map(len, rows), default=0)
    lines = max((cell.caption.count("\n") + 1 for row in rows for cell in row if cell.caption), default=0)
    left = MARGIN + (8 * max(map(len, row_labels)) + GAP if row_labels else 0)
    top = MARGIN + 2 * LINE + (LINE + 4) * bool(subtitle) + (LINE + 4 if column_labels else 0)
    step_x, step_y = side + GAP * (2 if lines else 1), side + GAP + LINE * lines
    width = max(left + columns * step_x + MARGIN - GAP, 2 * MARGIN + 7 * max(len(title) * 5 // 4, len(subtitle)))
    height = top + len(rows) * step_y + MARGIN - GAP
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write(x: float, y: float, text: str, **settings: Any) -> None:
        figure.text(x / width, 1 - y / height, text, va="top", **settings)

    write(MARGIN, MARGIN - 2, title, size=11, weight="bold")
    write(MARGIN, MARGIN + 1.5 * LINE, subtitle, color="#555555")
    for column, label in enumerate(column_labels):
        write(left + column * step_x + side / 2, top - LINE - 4, label, ha="center")
    for i, row in enumerate(rows):
        y = top + i * step_y
        if row_labels:
            write(left - GAP, y + side / 2 - LINE / 2, row_labels[i], ha="right")
        for j, cell in enumerate(row):
            x = left + j * step_x
            if cell.frame:
                colour = np.round(255 * np.array(to_rgb(cell.frame))).astype(np.uint8)
                canvas[y - FRAME : y + side + FRAME, x - FRAME : x + side + FRAME] = colour
            canvas[y : y + side, x : x + side] = cell.image.repeat(zoom, axis=0).repeat(zoom, axis=1)
            below, (first, _, rest) = y + side + 3 + FRAME * bool(cell.frame), cell.caption.partition("\n")
            write(x + side / 2, below, first, ha="center", size=7.5 if rest else 8, weight="bold" if rest else "normal")
            if rest:
                write(x + side / 2, below + LINE, rest, ha="center", size=8, linespacing=1.15, color="#555555")
    figure.figimage(canvas, zorder=-1)
    return figure
