"""Draw the dot plot of make compare: a row for each setting, a dot for each seed."""

import textwrap
from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cifar10.drawing.png import BLUE, ORANGE, png

Rows = Sequence[tuple[str, Mapping[int, float]]]  # from top to bottom: label, {seed: fraction}
WIDTH, LABEL, LINES = 8.0, 36, 3  # inches, characters in a line, lines of a label
ROW, LINE, SEED, AROUND = 0.36, 0.17, 0.1, 1.05  # inches: least height of a row, a line, a seed, above and below


def draw(rows: Rows, base: Sequence[float], number: str) -> bytes:
    """Return a PNG. `base` holds the values of the base, empty if there is none, and `number` says what they are."""
    return png(lambda: figure(rows, base, number))


def figure(rows: Rows, base: Sequence[float], number: str) -> Figure:
    labels = [wrapped(label) for label, _ in rows]
    seeds = [[100 * value for _, value in sorted(values.items())] for _, values in rows]
    heights = [
        max(ROW, SEED * (len(percent) + 1), LINE * (1 + label.count("\n")) + 0.12)
        for label, percent in zip(labels, seeds, strict=True)
    ]
    tops = [-sum(heights[:i]) for i in range(len(rows))]
    middles = [top - height / 2 for top, height in zip(tops, heights, strict=True)]
    drawing = Figure(figsize=(WIDTH, AROUND + sum(heights)), layout="constrained")
    axes = drawing.subplots()
    if base:
        axes.axvline(100 * mean(base), color="0.45", linestyle=(0, (5, 3)), linewidth=1, zorder=1, label="base")
    for middle, percent in zip(middles, seeds, strict=True):
        if len(percent) > 1:
            error, label = stdev(percent) / sqrt(len(percent)), "mean ± standard error"
            axes.errorbar(mean(percent), middle, xerr=error, color=ORANGE, elinewidth=4, zorder=2)
            axes.plot(mean(percent), middle, "|", color=ORANGE, ms=17, mew=2, zorder=2, label=label)
        # Each seed has a height of its own, the first at the top, so that equal numbers do not hide each other.
        places = [middle + SEED * ((len(percent) - 1) / 2 - i) for i in range(len(percent))]
        axes.plot(percent, places, "o", color=BLUE, ms=5, mec="white", mew=0.6, zorder=3, label="one seed")
    for top in tops[1:]:
        axes.axhline(top, color="0.92", linewidth=0.8, zorder=0)
    axes.set_yticks(middles, labels)
    axes.set_ylim(-sum(heights), 0)
    axes.tick_params(axis="y", length=0)
    low, high = min(map(min, seeds)), max(map(max, seeds))
    space = max(0.06 * (high - low), 0.05)
    axes.set_xlim(low - space, high + space)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
    axes.set_xlabel(f"{number} (%)")
    once = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    drawing.legend(list(once.values()), list(once), loc="outside upper right", ncols=3, frameon=False)
    return drawing


def wrapped(label: str) -> str:
    """Break `label` into lines that end after a parameter. The last ends in dots if they were more than LINES."""
    space = "\N{NO-BREAK SPACE}"
    whole = label.replace(" ", space).replace(f",{space}", ", ")
    lines = textwrap.wrap(
        whole, LABEL, break_on_hyphens=False, break_long_words=False, max_lines=LINES, placeholder=" ..."
    )
    return "\n".join(lines).replace(space, " ")
