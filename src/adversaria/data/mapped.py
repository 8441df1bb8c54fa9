"""Arrays that are mapped from a file: which file, and what of it will be needed next."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """Where a mapped array lies, enough to map it again."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]

    def map(self) -> NDArray[Any]:
        """The array, read-only."""
        return np.asarray(np.memmap(self.path, self.dtype, "r", self.offset, self.shape))


def place_of(samples: NDArray[Any]) -> Place | None:
    """Where ``samples`` are mapped from; None if they lie in memory."""
    mapped = _mapping(samples)
    if mapped is None or mapped.filename is None:
        return None
    offset = mapped.offset + samples.ctypes.data - mapped.ctypes.data
    return Place(Path(mapped.filename), samples.dtype, offset, samples.shape)


def read_ahead(samples: NDArray[Any], rows: slice | NDArray[np.integer[Any]]) -> None:
    """Lets the system read these rows from disk, all at once and nothing else; no effect on what lies in memory.

    Touching a row that is not in memory makes the system wait for it, and read hundreds of its neighbours, which in
    random order will not be needed before they are dropped again.
    """
    mapped = _mapping(samples)
    pages: Any = None if mapped is None else mapped.base
    if not isinstance(pages, mmap.mmap) or sys.platform == "win32" or not len(samples):
        return
    row_bytes = samples.strides[0]
    first = samples.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
    if isinstance(rows, slice):
        start, stop, step = rows.indices(len(samples))
        ranges = [(start, stop)] if step == 1 else []
    else:
        ranges = [(row, row + 1) for row in (rows % len(samples)).tolist()]
    for start, stop in ranges:
        begin = (first + start * row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        end = min(first + stop * row_bytes, len(pages))
        if end > begin:
            pages.madvise(mmap.MADV_WILLNEED, begin, end - begin)


def _mapping(samples: Any) -> np.memmap[Any, Any] | None:
    """The map that ``samples`` are a view of, without gaps; None if they are none."""
    whole = samples
    while isinstance(whole, np.ndarray):
        if isinstance(whole, np.memmap):
            return whole if samples.flags.c_contiguous else None
        whole = whole.base
    return None
