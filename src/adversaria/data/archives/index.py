"""The files below a folder, looked up once: names, sizes and times in a few arrays, kept on disk for the next start."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from adversaria.core.errors import UserError
from adversaria.core.files import replacing

logger = logging.getLogger(__name__)

_FORMAT_VERSION = 1
# Every start looks at the folders, and at all files of a folder up to this size, else at so many, evenly spaced.
LOOKED_AT = 20_000
# Another object per file would be several times as large, and workers that count references to it would copy it.
_END = b"\0"


class Names(Sequence[str]):
    """Many names in one block of memory, of some 10 bytes more than their characters each."""

    def __init__(self, block: NDArray[np.uint8]) -> None:
        self.block = block
        self._ends = np.flatnonzero(block == 0)

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """The same names, none of which holds a NUL."""
        if isinstance(names, Names):
            return names
        block = bytearray()
        for name in names:
            block += name.encode("utf-8", "surrogateescape") + _END
        return cls(np.frombuffer(block, np.uint8))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # an IndexError where there is none
        start = int(self._ends[index - 1]) + 1 if index else 0
        return self.block[start : self._ends[index]].tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class FileIndex:
    """All files below a folder but hidden ones, sorted by name.

    Attributes:
        names: relative, with ``/``.
        sizes, times: ``[N]`` int64, bytes and nanoseconds of the last modification.
        folders, folder_times: where they lie; the time of a folder changes with what it holds.
        fingerprint: of names, sizes and times.
    """

    names: Names
    sizes: NDArray[np.int64]
    times: NDArray[np.int64]
    folders: Names
    folder_times: NDArray[np.int64]
    fingerprint: str

    def holds(self, root: Path) -> bool:
        """Whether nothing was added, removed or renamed, and no file that is looked at was changed in place."""
        count = len(self.names)
        looked_at = np.unique(np.linspace(0, max(0, count - 1), min(count, LOOKED_AT)).astype(np.int64))
        try:
            for folder, changed in zip(self.folders, self.folder_times.tolist(), strict=True):
                if os.stat(root / folder).st_mtime_ns != changed:
                    return False
            for row in looked_at.tolist():
                status = os.stat(root / self.names[row])
                if (status.st_size, status.st_mtime_ns) != (self.sizes[row], self.times[row]):
                    return False
        except OSError:
            return False
        return True


def index_of(root: Path, kept_in: Path | None) -> FileIndex:
    """The index of ``root``: the one kept in the folder ``kept_in`` if that still holds, else a new one.

    Only an index of more files than every start looks at is kept: the others are made as fast as they are read.
    """
    place = None if kept_in is None else kept_in / f".index-{_digest(str(root.resolve()))[:16]}.npz"
    if place is not None and (kept := _read(place)) is not None:
        if kept.holds(root):
            return kept
        logger.info("%s has changed and is looked through again", root)
    start = time.monotonic()
    index = scan(root)
    if place is not None and len(index.names) > LOOKED_AT:
        logger.info("found %s files in %s in %.0f s", f"{len(index.names):,}", root, time.monotonic() - start)
        _write(index, place)
    return index


def scan(root: Path) -> FileIndex:
    """Looks at every file below ``root``; links are followed, hidden files and folders left out."""
    names, sizes, times = bytearray(), array("q"), array("q")
    folders, folder_times = [], array("q")
    visited: set[tuple[int, int]] = set()  # a link may lead back to a folder above it
    digest = hashlib.sha256()

    def visit(folder: str) -> None:
        path = os.path.join(root, folder)
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        folders.append(folder)
        folder_times.append(status.st_mtime_ns)
        # With "/" after folders their order is that of all names sorted as text, a folder at a time in memory.
        with os.scandir(path) as entries:
            found = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
        for name in found:
            if hidden(name):
                continue
            if name.endswith("/"):
                visit(folder + name)
                continue
            try:
                status = os.stat(path + name)
            except FileNotFoundError:  # a link to nothing
                continue
            if stat.S_ISREG(status.st_mode):
                full = (folder + name).encode("utf-8", "surrogateescape")
                names.extend(full + _END)
                sizes.append(status.st_size)
                times.append(status.st_mtime_ns)
                digest.update(b"%b\0%d\0%d\n" % (full, status.st_size, status.st_mtime_ns))

    visit("")
    return FileIndex(
        Names(np.frombuffer(names, np.uint8)),
        np.frombuffer(sizes, np.int64),
        np.frombuffer(times, np.int64),
        Names.of(folders),
        np.frombuffer(folder_times, np.int64),
        digest.hexdigest(),
    )


def hidden(name: str) -> bool:
    """Whether a path leads through what its owner's system hides."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _read(place: Path) -> FileIndex | None:
    try:
        with np.load(place, allow_pickle=False) as kept:
            if int(kept["version"]) != _FORMAT_VERSION:
                return None
            names, folders = Names(kept["names"]), Names(kept["folders"])
            return FileIndex(
                names, kept["sizes"], kept["times"], folders, kept["folder_times"], str(kept["fingerprint"])
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # missing, or damaged: made again
        return None


def _write(index: FileIndex, place: Path) -> None:
    """Puts the index in its place at once; equal ones of several processes do no harm."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as file:
            np.savez(
                file,
                version=np.array(_FORMAT_VERSION),
                names=index.names.block,
                sizes=index.sizes,
                times=index.times,
                folders=index.folders.block,
                folder_times=index.folder_times,
                fingerprint=np.array(index.fingerprint),
            )
    except (OSError, UserError) as error:
        logger.warning("the index of files cannot be kept in %s (%s): the next start makes it again", place, error)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
