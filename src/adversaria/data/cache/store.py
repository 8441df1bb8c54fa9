"""Decoded images on disk: a memory-mapped uint8 array and its labels, written atomically and verified when opened."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adversaria.core import files
from adversaria.core.errors import UserError
from adversaria.data.cache.checksums import checksums, damaged
from adversaria.data.cache.record import forget, recorded
from adversaria.data.images.pixels import Pixels

logger = logging.getLogger(__name__)

# To be raised whenever the same key would lead to other pixels.
FORMAT_VERSION = 2
#: of the file that describes an entry
META = "meta.json"
_SAMPLES, _LABELS = "samples.u8", "labels.npy"


@dataclass(frozen=True)
class Entry:
    """One decoded data set.

    Attributes:
        samples: ``[N, H, W, C]`` uint8, mapped from disk, read-only.
        labels: ``[N]`` int64, or None.
        splits: each split's rows, from the first to before the second number.
        content: sha256 of each split's pixels and labels.
        info: what else was stored with it, plain.
    """

    samples: Pixels
    labels: NDArray[np.int64] | None
    splits: dict[str, tuple[int, int]]
    content: dict[str, str]
    info: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """What a writer has written: ``shape[0]`` rows of uint8 pixels ``shape[1:]``, and what belongs to them."""

    shape: tuple[int, int, int, int]
    labels: NDArray[np.int64] | None
    splits: dict[str, tuple[int, int]]
    info: dict[str, Any]


def get(folder: Path, name: str, key: dict[str, Any], write: Callable[[Path], Written], of: str | None = None) -> Entry:
    """The entry for ``key`` in ``folder``; unless a sound one is there, ``write(path of the samples)`` makes it.

    Args:
        folder: of all entries; made if missing.
        name: a word for people who look into the folder.
        key: plain values; other values, another entry.
        write: writes raw uint8 rows to the path it is given and returns what they are. After it was cut off it may be
            given the same path again, if it has left a record beside it (see `record`).
        of: what it is made of, such as the folder of the images, for people; None: ``name``.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    key = {"format": FORMAT_VERSION, **key}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    place = folder / f"{name}-{digest[:16]}"
    if (entry := _open(place, key)) is not None:
        return entry
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{place.name}.lock") as alone:
            # Another process may have made it while this one waited.
            if (entry := _open(place, key)) is None:
                _build(place, key, write, alone, name if of is None else of)
                entry = _open(place, key)
    except OSError as error:
        raise UserError(
            f"data.cache_dir={folder} cannot be written to ({error}): free space or choose another"
        ) from error
    if entry is None:
        raise UserError(f"data.cache_dir={folder} does not keep what is written to it: choose another folder")
    return entry


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Holds an advisory lock while inside, which ends with the process; waits for another that holds it.

    Gives False where the system or the file system knows no such locks.
    """
    alone = True
    with ExitStack() as held:
        try:
            held.enter_context(files.locked(path))
        except BlockingIOError:
            logger.info("waiting for another process that prepares the same data (%s)", path)
            held.enter_context(files.locked(path, wait=True))
        except NotImplementedError:
            alone = False
        yield alone


def _open(place: Path, key: dict[str, Any]) -> Entry | None:
    """The entry at ``place`` if it is whole and belongs to ``key``, else None."""
    try:
        meta = files.read_json(place / META)
        if meta.pop("checksum", None) != _checksum(meta):
            raise ValueError("its description is not what was written")
        shape = tuple(int(side) for side in meta["shape"])
        if meta["key"] != key or len(shape) != 4 or (place / _SAMPLES).stat().st_size != math.prod(shape):
            raise ValueError("its header does not fit")
        for name, expected in meta["checksums"].items():
            if damaged(place / name, expected):
                raise ValueError(f"{name} is not what was written")
        samples = np.asarray(np.memmap(place / _SAMPLES, np.uint8, "r", shape=shape))
        labels = np.load(place / _LABELS, allow_pickle=False) if meta["labelled"] else None
        if labels is not None and (labels.shape != shape[:1] or labels.dtype != np.int64):
            raise ValueError("its labels do not fit")
        splits = {name: (int(start), int(stop)) for name, (start, stop) in meta["splits"].items()}
        return Entry(samples, labels, splits, meta["content"], meta["info"])
    except FileNotFoundError:
        if place.exists():
            logger.warning("the cache entry %s is incomplete and is made again", place)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, UserError) as error:
        logger.warning("the cache entry %s is damaged (%s) and is made again", place, error)
    return None


def _build(place: Path, key: dict[str, Any], write: Callable[[Path], Written], alone: bool, of: str) -> None:
    """Makes the entry; goes on from what a process that was killed has left, where this one is ``alone``."""
    unfinished = place.with_name(f".{place.name}.{'unfinished' if alone else uuid.uuid4().hex}.tmp")
    for leftover in place.parent.glob(f".{place.name}.*.tmp") if alone else ():
        if leftover != unfinished or not recorded(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    files.subfolder(unfinished.parent, unfinished.name)
    try:
        written = write(unfinished / _SAMPLES)
        samples = np.memmap(unfinished / _SAMPLES, np.uint8, "r", shape=written.shape)
        meta: dict[str, Any] = {
            "key": key,
            "of": of,
            "shape": list(written.shape),
            "labelled": written.labels is not None,
            "splits": written.splits,
            "content": {
                split: content_hash(samples[start:stop], None if written.labels is None else written.labels[start:stop])
                for split, (start, stop) in written.splits.items()
            },
            "info": written.info,
        }
        del samples
        if written.labels is not None:
            np.save(unfinished / _LABELS, written.labels, allow_pickle=False)
        meta["checksums"] = {
            name: checksums(unfinished / name) for name in (_SAMPLES, _LABELS) if (unfinished / name).exists()
        }
        meta = json.loads(json.dumps(meta))  # as it will be read
        files.write_json(unfinished / META, {**meta, "checksum": _checksum(meta)})
        forget(unfinished / _SAMPLES)
        for file in unfinished.iterdir():
            _sync(file)
        _sync(unfinished)
        _move(unfinished, place)
    except BaseException as error:
        # Whoever presses Ctrl-C may want to go on later; what failed would fail again. Without locks nobody would know
        # whether what lies there is still being written.
        if isinstance(error, Exception) or not (alone and recorded(unfinished)):
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            logger.info("what is decoded by now is kept for the next start, in %s", unfinished)
        raise


def _checksum(meta: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _move(unfinished: Path, place: Path) -> None:
    """Puts a finished entry in its place at once; a folder there is a damaged one, or an equal one just finished."""
    try:
        unfinished.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        # Whoever has the old files open keeps them until closed.
        aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}.old")
        place.rename(aside)
        unfinished.rename(place)
        shutil.rmtree(aside, ignore_errors=True)
    _sync(place.parent)


def _sync(path: Path) -> None:
    """Waits until a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot synchronise a folder
            raise
    finally:
        os.close(descriptor)


def content_hash(samples: NDArray[Any], labels: NDArray[np.int64] | None) -> str:
    """sha256 of shape, values and labels."""
    digest = hashlib.sha256(f"{samples.dtype} {list(samples.shape)}".encode())
    rows = max(1, 2**24 // max(1, samples[:1].nbytes))
    for start in range(0, len(samples), rows):
        digest.update(np.ascontiguousarray(samples[start : start + rows]).data)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
