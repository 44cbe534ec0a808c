"""Lay out the table that make compare prints."""

from collections.abc import Mapping, Sequence
from typing import Any

COMPARED = ("validation_accuracy", "test_accuracy")
NUMBERS = {  # of the table: heading, factor, decimal places
    "validation_accuracy": ("validation %", 100, 2),
    "validation_loss": ("validation loss", 1, 3),
    "train_accuracy": ("train %", 100, 2),
    "test_accuracy": ("test %", 100, 2),
    "tta_accuracy": ("tta %", 100, 2),
    "calibration_error": ("calibration error", 1, 3),
    "seconds_per_epoch": ("s/epoch", 1, 1),
}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as Markdown, without columns that are empty."""
    columns = {"setting": [label(cells) for cells in rows], "seeds": [cells["seeds"] for cells in rows]}
    for number, (heading, factor, places) in NUMBERS.items():
        columns[heading] = [_plus_minus(cells[number], cells[f"{number}_std"], factor, places) for cells in rows]
        if number in COMPARED:
            columns[f"{heading} - base"] = [_apart(cells, number) for cells in rows]
    return aligned({heading: texts for heading, texts in columns.items() if any(texts)})


def aligned(columns: Mapping[str, Sequence[str]]) -> str:
    """Return texts, by heading, as a Markdown table."""
    widths = [max(map(len, [heading, *texts])) for heading, texts in columns.items()]
    lines = [list(columns), ["-" * width for width in widths], *map(list, zip(*columns.values(), strict=True))]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def label(cells: dict[str, Any]) -> str:
    return f"{cells['setting']} (base)" if cells["base"] and cells["setting"] != "base" else str(cells["setting"])


def _plus_minus(value: Any, error: Any, factor: float, places: int, sign: str = "") -> str:
    if value == "":
        return ""
    return f"{value * factor:{sign}.{places}f}" + (f" ± {error * factor:.{places}f}" if error != "" else "")


def _apart(cells: dict[str, Any], number: str) -> str:
    text = _plus_minus(cells[f"{number}_difference"], cells[f"{number}_error"], 100, 2, "+")
    return text and f"{text} ({cells[f'{number}_from']})"
