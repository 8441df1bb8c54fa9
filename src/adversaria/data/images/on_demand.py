"""Rows that are decoded whenever they are asked for, for images that no disk has room for once decoded."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.data.cache.store import Entry
from adversaria.data.images.decoding import ColourFound, RowDecoder
from adversaria.data.images.pictures import Item, Pictures
from adversaria.data.images.pixels import Pixels


class DecodedOnDemand:
    """``[N, H, W, C]`` uint8, indexed like an array's first axis; each row that is asked for is read and decoded then.

    What a worker process gets of it are a few arrays: no object per file.

    Args:
        item: the image at a position of the data set.
        name: of the file at a position, for messages.
        decoder: gives rows their shape.
        positions: ``[N]`` int64, the rows.

    Raises:
        UserError: from an index: an image is unreadable, or colourful where the first one was grey.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        item: Callable[[int], Item],
        name: Callable[[int], str],
        decoder: RowDecoder,
        positions: NDArray[np.int64],
    ) -> None:
        self._item, self._name, self._decoder, self._positions = item, name, decoder, positions
        self.shape = (len(positions), *decoder.shape)

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def nbytes(self) -> int:
        """Of all rows once decoded."""
        return len(self) * self._decoder.row_bytes

    def __getitem__(self, rows: Any) -> Pixels | DecodedOnDemand:
        """The pixels at an index or at an array of indices; a slice is a view, still undecoded."""
        positions = self._positions[rows]
        if isinstance(rows, slice):
            return DecodedOnDemand(self._item, self._name, self._decoder, positions)
        if positions.ndim == 0:
            return self._row(int(positions))
        return self._decoded(positions)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._decoded(self._positions).astype(dtype or np.uint8, copy=False)

    def _decoded(self, positions: NDArray[np.int64]) -> Pixels:
        decoded = np.empty((len(positions), *self.shape[1:]), np.uint8)
        for row, position in zip(decoded, positions.tolist(), strict=True):
            row[...] = self._row(position)
        return decoded

    def _row(self, position: int) -> Pixels:
        try:
            row = self._decoder.row(self._item(position))
        except ColourFound as error:
            raise UserError(
                f"data.root={self._decoder.where}: {shown(self._name(position))} has colours, the first image none: "
                f"set data.channels=3"
            ) from error
        if isinstance(row, str):
            raise UserError(
                f"data.root={self._decoder.where}: {shown(self._name(position))} is unreadable ({shown(row)}): "
                f"replace or remove it, or set data.storage=auto, which leaves out single ones"
            )
        return row


def undecoded(pictures: Pictures, decoder: RowDecoder, key: dict[str, Any]) -> Entry:
    """What a cache would hold of ``pictures``, decoded as it is used; an unreadable image is an error then.

    Args:
        pictures: the data set.
        decoder: its shape is not known yet.
        key: what the pixels depend on, plain; it stands for the content, which nobody has seen.

    Raises:
        UserError: the images lie in an archive, which has no random access; or none of them is readable.
    """
    if pictures.item is None:
        raise UserError(
            f"data.storage=files: {decoder.where} is no folder of image files: unpack it, or set data.storage=auto"
        )
    layout = pictures.layout
    count = len(layout.names)
    decoder.find_shape(map(pictures.item, range(count)))
    decoder.row(pictures.item(0))  # which tells whether the files have more than 8 bits
    ends = itertools.accumulate(layout.splits.values(), initial=0)
    content = f"files {hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()}"
    return Entry(
        samples=cast("Pixels", DecodedOnDemand(pictures.item, layout.names.__getitem__, decoder, np.arange(count))),
        labels=layout.labels,
        splits=dict(zip(layout.splits, itertools.pairwise(ends), strict=True)),
        content=dict.fromkeys(layout.splits, content),
        info={
            "class_names": layout.class_names,
            "encoding": pictures.encoding,
            "notes": layout.notes,
            "deep": decoder.deep,
        },
    )
