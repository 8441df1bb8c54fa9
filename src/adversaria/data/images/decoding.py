"""Many images decoded once, in parallel, into rows of one file."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import UnidentifiedImageError
from tqdm import tqdm

from adversaria.core.errors import UserError
from adversaria.core.machine import cores
from adversaria.core.text import shown
from adversaria.data.cache.record import BuildRecord, forget
from adversaria.data.cache.store import Written
from adversaria.data.images import pixels as images
from adversaria.data.images.layout import Layout
from adversaria.data.images.pictures import Item, Pictures
from adversaria.data.images.pixels import Fit, Pixels

logger = logging.getLogger(__name__)

_TOLERATED_SHARE = 0.01
_NAMED_FILES = 20
# What one task of a worker takes: enough to hide the cost of passing it on, little enough to keep memory small.
_CHUNK_IMAGES, _CHUNK_BYTES = 32, 4 * 2**20

# Position and pixels of each image of a chunk, or why it is unreadable.
_Rows: TypeAlias = list[tuple[int, Pixels | str]]


def decode_all(
    pictures: Pictures, path: Path, *, size: int | None, channels: int | None, fit: Fit, where: str
) -> Written:
    """Decodes every image into ``path``: raw uint8 rows ``[H, W, C]`` in the layout's order.

    Unreadable images are named in a warning and left out. What an earlier call, cut off, has put on record beside
    ``path`` is not decoded again (see `record`).

    Args:
        pictures: what to decode.
        path: of the file to write.
        size: the side of the rows; None if all images have one size already.
        channels: 1, 3, or None: 1 if all images are grey, else 3.
        fit: see `images.fit`.
        where: the data's place, for messages.

    Raises:
        UserError: images differ in size and ``size`` is None; more than 1% are unreadable; the disk is too small.
    """
    decoder = RowDecoder(size, channels, fit, where)
    total = len(pictures.layout.names)
    if (record := BuildRecord.beside(path)) is None:
        decoder.find_shape(pictures.items())
        record = BuildRecord(0, decoder.shape)
        _require_space(path.parent, total * decoder.row_bytes)
        path.touch()
        logger.info("decoding %s images of %s, once", f"{total:,}", where)
    else:
        decoder.take(record.shape)
        logger.info("decoding %s images of %s, the %s that are left", f"{total:,}", where, f"{total - record.done:,}")
    try:
        _write(decoder, pictures, path, record)
    except ColourFound:
        # Known only now, and rare: all images up to here were grey.
        forget(path)
        decoder.channels = 3
        record = BuildRecord(0, decoder.shape)
        _write(decoder, pictures, path, record)
    unreadable = record.unreadable
    _judge(unreadable, pictures.layout, where)
    if unreadable:
        forget(path)  # what follows moves rows
    return _without(unreadable, pictures, path, (total, *decoder.shape), deep=decoder.deep)


class ColourFound(Exception):
    """An image has colours where the first one was grey and the number of channels was left open."""


class RowDecoder:
    """Turns items into rows of one shape, that of the first readable image where none is given."""

    def __init__(self, size: int | None, channels: int | None, fit: Fit, where: str) -> None:
        self.size, self.fit, self.where = size, fit, where
        self.channels = channels
        self.choose_channels = channels is None
        self.height_width: tuple[int, int] | None = None if size is None else (size, size)
        self.deep = False  # whether files with more than 8 bits for each value were seen

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``, once known."""
        assert self.height_width is not None
        assert self.channels is not None
        return (*self.height_width, self.channels)

    @property
    def row_bytes(self) -> int:
        """Of one row."""
        height, width, channels = self.shape
        return height * width * channels

    def find_shape(self, items: Iterable[Item]) -> None:
        """Takes the shape that is not given from the first readable image."""
        if self.height_width is not None and self.channels is not None:
            return
        reason = ""
        for item in items:
            try:
                image = item.image()
            except Exception as error:  # it is counted and named when its turn comes
                reason = reason or _reason(error)
                continue
            self.channels = self.channels or (1 if image.mode == "L" else 3)
            self.height_width = self.height_width or (image.height, image.width)
            return
        raise UserError(f"data.root={self.where} holds no readable image: all of them are damaged ({shown(reason)})")

    def take(self, shape: tuple[int, int, int]) -> None:
        """Makes rows of ``shape``, as it did before."""
        self.height_width, self.channels = shape[:2], shape[2]

    def rows(self, chunk: list[Item]) -> _Rows:
        """Of each of several images."""
        return [(item.position, self.row(item)) for item in chunk]

    def row(self, item: Item) -> Pixels | str:
        """``[H, W, C]`` of one image, or why it is unreadable."""
        try:
            image = item.image()
        except Exception as error:  # Pillow's plugins raise anything from SyntaxError to struct.error
            return _reason(error)
        self.deep |= bool(image.info.get("deep"))
        if self.choose_channels and self.channels == 1 and image.mode != "L":
            raise ColourFound
        image = images.fit(image, self.size, self.fit)
        if (image.height, image.width) != self.height_width:
            height, width = self.shape[:2]
            raise UserError(
                f"the images of {self.where} differ in size ({width}x{height} and {image.width}x{image.height}): "
                f"set data.size, or resize them to one size"
            )
        assert self.channels is not None
        return images.pixels(image, self.channels)


def _write(decoder: RowDecoder, pictures: Pictures, path: Path, record: BuildRecord) -> None:
    """Writes the rows of all images that ``record`` lacks, and says there which are unreadable."""
    total = len(pictures.layout.names)
    left = itertools.islice(pictures.items(), record.done, None)
    with (
        path.open("r+b") as file,
        tqdm(total=total, initial=record.done, desc="decoding", unit="image", disable=None) as bar,
        closing(_in_parallel(decoder.rows, _chunks(left))) as decoded,
    ):
        for results in decoded:
            for position, row in results:
                if isinstance(row, str):
                    record.unreadable[position] = row
                    continue
                # Not through a memory map: on a full disk that ends the process instead of raising OSError.
                file.seek(position * decoder.row_bytes)
                file.write(row.data if row.flags.c_contiguous else row.tobytes())
            bar.update(len(results))
            record.advance(len(results), file, path)
        file.truncate(total * decoder.row_bytes)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    nbytes = 0
    for item in items:
        chunk.append(item)
        nbytes += item.nbytes
        if len(chunk) == _CHUNK_IMAGES or nbytes >= _CHUNK_BYTES:
            yield chunk
            chunk, nbytes = [], 0
    if chunk:
        yield chunk


def _in_parallel(work: Callable[[list[Item]], _Rows], chunks: Iterable[list[Item]]) -> Generator[_Rows, None, None]:
    """``work`` of each chunk, in order, with a bounded number under way.

    Threads suffice, as Pillow decodes and resizes without the interpreter's lock; processes were no faster on small
    JPEGs, and would have to send every image twice.
    """
    workers = cores()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    pending: deque[Future[_Rows]] = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(work, chunk))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"data.cache_dir={folder.parent} has {free / 2**30:.1f} GiB free, but the decoded images take "
            f"{needed / 2**30:.1f} GiB: free space, choose another data.cache_dir or a smaller data.size, or "
            f"set data.storage=files, which decodes a folder's images anew in each epoch"
        )


def _judge(unreadable: dict[int, str], layout: Layout, where: str) -> None:
    """Names the unreadable images; refuses the data set when they are too many."""
    if not unreadable:
        return
    named = [f"{shown(layout.names[position])} ({shown(reason)})" for position, reason in sorted(unreadable.items())]
    total = len(layout.names)
    if len(unreadable) > _TOLERATED_SHARE * total:
        few = ", ".join(named[:3]) + (", ..." if len(named) > 3 else "")
        raise UserError(
            f"data.root={where}: {len(unreadable):,} of {total:,} images are unreadable, more than "
            f"{_TOLERATED_SHARE:.0%}: replace or remove them: {few}"
        )
    logger.warning(
        "%d of %s images are unreadable and left out: %s",
        len(unreadable),
        f"{total:,}",
        ", ".join(named[:_NAMED_FILES]) + (", ..." if len(named) > _NAMED_FILES else ""),
    )


def _without(
    unreadable: dict[int, str], pictures: Pictures, path: Path, shape: tuple[int, int, int, int], *, deep: bool
) -> Written:
    """Closes the gaps that unreadable images left, and describes the rest."""
    layout = pictures.layout
    readable = np.ones(shape[0], dtype=bool)
    readable[list(unreadable)] = False
    kept = int(readable.sum())
    row_bytes = shape[1] * shape[2] * shape[3]
    if unreadable:
        with path.open("r+b") as file:
            # A row only ever moves towards the start, over one that has moved already.
            for target, source in enumerate(np.flatnonzero(readable)):
                if target != source:
                    file.seek(int(source) * row_bytes)
                    row = file.read(row_bytes)
                    file.seek(target * row_bytes)
                    file.write(row)
            file.truncate(kept * row_bytes)
    splits, start = {}, 0
    for split, count in layout.splits.items():
        stop = start + count
        splits[split] = (int(readable[:start].sum()), int(readable[:stop].sum()))
        start = stop
    notes = [*layout.notes, *([f"{len(unreadable):,} unreadable images are left out"] if unreadable else [])]
    return Written(
        shape=(kept, *shape[1:]),
        labels=None if layout.labels is None else layout.labels[readable],
        splits=splits,
        info={"class_names": layout.class_names, "encoding": pictures.encoding, "notes": notes, "deep": deep},
    )


def _reason(error: Exception) -> str:
    """Why an image is unreadable."""
    if isinstance(error, UnidentifiedImageError):  # says where the bytes lie in memory
        return "no image of a known kind"
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
