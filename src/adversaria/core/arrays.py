"""Arrays with a description in one file: written atomically, without pickle, and verified when read."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adversaria.core.files import replacing

log = logging.getLogger(__name__)

T = TypeVar("T")
Arrays = Mapping[str, NDArray[Any]]
_ABOUT = "about"


class BadFile(Exception):
    """The file is missing, cut off, changed, or was not written by `save_arrays`."""


def content_hash(arrays: Arrays) -> str:
    """sha256 over names, types, shapes and values, whatever the order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def key_hash(key: Mapping[str, Any]) -> str:
    """sha256 of a plain mapping, whatever the order."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def save_arrays(path: Path, arrays: Arrays, about: Mapping[str, Any]) -> None:
    """Writes an uncompressed .npz; equal contents give equal bytes, and a reader sees all of it or nothing.

    Args:
        path: of the file; its folder is made.
        arrays: by name; ``about`` is taken.
        about: plain values that describe them.

    Raises:
        OSError: the disk is full, the folder is read-only, and the like.
    """
    description = json.dumps({"about": dict(about), "sha256": content_hash(arrays)}, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=True) as file:
        np.savez(file, **{_ABOUT: np.frombuffer(description.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and their description.

    Raises:
        BadFile: see there; the message says why.
    """
    try:
        # NumPy leaves a file that it has opened itself and cannot read open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        description = json.loads(arrays.pop(_ABOUT).tobytes())
        about, expected = dict(description["about"]), description["sha256"]
    except Exception as error:  # whatever zipfile, its decompressors, NumPy and json make of damaged bytes
        raise BadFile(f"{path} cannot be read ({error})") from error
    if content_hash(arrays) != expected:
        raise BadFile(f"{path} was changed after it was written")
    return arrays, about


def stated_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """How many bytes an array of an .npz says it has, none of which is read.

    Raises:
        ValueError: it is no array, or its file holds another number of bytes.
    """
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes != info.file_size - file.tell():
            raise ValueError(f"{info.filename} states {nbytes:,} bytes and holds {info.file_size - file.tell():,}")
    return nbytes


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """An array of an .npz; ask `stated_bytes` first whether there is memory for it.

    Raises:
        ValueError: it is no array, or holds objects, which could run code.
    """
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def cached(
    path: Path,
    key: Mapping[str, Any],
    *,
    read: Callable[[Arrays], T],
    make: Callable[[], T],
    write: Callable[[T], Arrays],
    what: str,
) -> T:
    """What ``path`` holds for ``key``, else what ``make`` gives, stored there for the next time.

    A damaged or foreign file is replaced, never trusted; where nothing can be written it is done without.

    Args:
        path: of the file.
        key: plain, all that the content depends on.
        read: the arrays of the file to the content; raises BadFile for arrays that are not such.
        make: the content, anew.
        write: the inverse of ``read``.
        what: names the content, for a warning.
    """
    if path.exists():
        try:
            arrays, about = load_arrays(path)
            if about != key:
                raise BadFile(f"{path} is of something else")
            return read(arrays)
        except BadFile as error:
            log.warning("%s; it is made anew", error)
    made = make()
    try:
        save_arrays(path, write(made), key)
    except OSError as error:
        log.warning("%s are not cached: %s", what, error)
    return made
