"""The rows of a ``metrics.csv``, also of one that was cut off or damaged."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

from adversaria.core.files import read_text

#: bytes of a file with a row for each of a million logged steps
_LARGEST = 256 * 2**20
#: numbers, NaN, infinity and words such as a fingerprint's; what is damaged seldom looks like these
_CELL = re.compile(r"[\w.+:-]*", re.ASCII)


def rows_of(path: Path) -> tuple[list[dict[str, str]], int]:
    """The whole rows of a ``metrics.csv`` by column, and how many of its other lines are damaged.

    A row is whole if it has as many cells as the header and a step. A last line without an end was cut off by a kill,
    or is still being written: it is neither.

    Raises:
        UserError: it is no regular file, or larger than any.
        OSError: it cannot be read.
    """
    first, *lines = read_text(path, largest=_LARGEST).split("\n")[:-1] or [""]
    columns = _cells(first)
    if "step" not in columns:
        return [], len(lines) + bool(first)
    rows = [dict(zip(columns, cells, strict=True)) for line in lines if len(cells := _cells(line)) == len(columns)]
    whole = [row for row in rows if _is_step(row["step"]) and all(_CELL.fullmatch(cell) for cell in row.values())]
    return whole, len(lines) - len(whole)


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")]), [])
    except csv.Error:
        return []


def _is_step(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and float(cell) >= 0
    except ValueError:
        return False
