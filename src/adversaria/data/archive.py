"""A folder, a .tar (.gz, .xz, .bz2) or a .zip as one thing: relative file names and their bytes, read and never run.

Nothing is unpacked here. An archive with an entry that could reach outside the folder it is unpacked to (absolute or
climbing names, links, devices) is refused as a whole: such an archive is either broken or hostile.
"""

from __future__ import annotations

import hashlib
import itertools
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from adversaria.data.index import FileIndex, hidden, index_of
from adversaria.errors import UserError

ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".zip")
# No picture is this large; a few compressed kilobytes could otherwise swell until the memory is full.
_LARGEST_FILE = 256 * 2**20
_SAMPLED_BYTES = 2**20
_KEPT_BYTES = 256 * 2**20


class StoredFile(NamedTuple):
    """One file of a tree; ``read`` may be called from any thread. ``path`` is that of a file outside of archives."""

    name: str
    size: int
    read: Callable[[], bytes]
    path: Path | None = None


class Tree(Protocol):
    """Files below a root, by relative names with ``/``; hidden files and folders are left out."""

    path: Path

    def fingerprint(self) -> str:
        """Changes when the files change; cheap, and independent of where the tree lies."""
        ...

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        ...

    def files(self, wanted: Collection[str]) -> Iterator[StoredFile]:
        """The ``wanted`` files in the order in which they are stored: one sequential pass."""
        ...


def open_tree(path: Path, kept_in: Path | None = None) -> Tree:
    """The folder or archive at ``path``.

    Args:
        path: of either.
        kept_in: where the index of a large folder is kept for the next start; None: nowhere.

    Raises:
        UserError: there is nothing at ``path``, or it is neither; later, from any method: the archive is damaged,
            encrypted, or holds an unsafe entry.
    """
    if path.is_dir():
        return FolderTree(path, kept_in)
    if not path.exists():
        raise UserError(f"data.root={path} does not exist: give an existing folder or archive")
    with _damage_reported(path):
        # Tar first: a tar file that ends with a stored zip file looks like a zip file too.
        if tarfile.is_tarfile(path):
            return TarTree(path)
        if zipfile.is_zipfile(path):
            return ZipTree(path)
    raise UserError(
        f"data.root={path} is neither a folder nor a readable archive ({', '.join(ARCHIVE_ENDINGS)}): "
        f"it may be cut off or of another kind"
    )


class FolderTree:
    """The files below a folder; links are followed, as they are the user's own.

    Args:
        path: the folder.
        kept_in: where the index of a large folder is kept for the next start; None: nowhere.
    """

    def __init__(self, path: Path, kept_in: Path | None = None) -> None:
        self.path = path
        self.kept_in = kept_in

    @cached_property
    def index(self) -> FileIndex:
        """What lies there, looked up when first asked for."""
        return index_of(self.path, self.kept_in)

    def __getstate__(self) -> dict[str, Any]:
        # A process that reads single files needs no index.
        return {"path": self.path, "kept_in": self.kept_in}

    def fingerprint(self) -> str:
        """Of names, sizes and times of modification."""
        return f"folder {self.index.fingerprint}"

    def names(self) -> list[str]:
        """See `Tree`."""
        return list(self.index.names)

    def files(self, wanted: Collection[str]) -> Iterator[StoredFile]:
        """See `Tree`."""
        for row, name in enumerate(self.index.names):
            if name in wanted:
                yield self._file(name, int(self.index.sizes[row]))

    def file(self, name: str) -> StoredFile:
        """One file, of whatever size it may be."""
        return self._file(name, 0)

    def _file(self, name: str, size: int) -> StoredFile:
        path = self.path / name
        return StoredFile(name, size, path.read_bytes, path)


class TarTree:
    """A tar archive, read in sequential passes: a compressed one knows no random access."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, bytes] | None = None

    def fingerprint(self) -> str:
        """Of the archive's size, time of modification, head and tail."""
        return _archive_fingerprint(self.path)

    def names(self) -> list[str]:
        """See `Tree`; one pass over the archive, which keeps the bytes of a small one and so spares the next pass."""
        names, kept, total = [], {}, 0
        with _damage_reported(self.path):
            for name, member, tar in self._members():
                names.append(name)
                total += member.size
                if total <= _KEPT_BYTES:
                    kept[name] = _extracted(tar, member)
                else:
                    kept.clear()
        self._kept = kept if total <= _KEPT_BYTES else None
        return _sorted_unique(self.path, names)

    def files(self, wanted: Collection[str]) -> Iterator[StoredFile]:
        """See `Tree`."""
        if self._kept is not None:
            yield from (StoredFile(name, len(self._kept[name]), partial(_bounded, self._kept[name])) for name in wanted)
            return
        with _damage_reported(self.path):
            for name, member, tar in self._members():
                if name in wanted:
                    # A stream cannot be revisited: the bytes are read now, and decoded wherever `read` is called.
                    data = _extracted(tar, member) if member.size <= _LARGEST_FILE else None
                    yield StoredFile(name, member.size, partial(_bounded, data))

    def _members(self) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
        with tarfile.open(self.path, "r|*") as tar:
            for member in tar:
                name = _safe_name(self.path, member.name)
                if not (member.isreg() or member.isdir()):
                    raise _unsafe(self.path, member.name, "a link or a device")
                if member.isreg() and not hidden(name):
                    yield name, member, tar
                tar.members = []  # type: ignore[attr-defined]  # or it remembers every header of a large archive


class ZipTree:
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fingerprint(self) -> str:
        """Of the archive's size, time of modification, head and tail."""
        return _archive_fingerprint(self.path)

    def names(self) -> list[str]:
        """See `Tree`."""
        with _damage_reported(self.path), zipfile.ZipFile(self.path) as archive:
            return _sorted_unique(self.path, [name for name, _ in self._members(archive)])

    def files(self, wanted: Collection[str]) -> Iterator[StoredFile]:
        """See `Tree`."""
        with _damage_reported(self.path), zipfile.ZipFile(self.path) as archive:
            for name, info in self._members(archive):
                if name in wanted:
                    data = archive.read(info) if info.file_size <= _LARGEST_FILE else None
                    yield StoredFile(name, info.file_size, partial(_bounded, data))

    def _members(self, archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        for info in archive.infolist():
            name = _safe_name(self.path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(self.path, info.filename, "a link or a device")
            if not info.is_dir() and not hidden(name):
                yield name, info


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = tar.extractfile(member)
    assert handle is not None, "a regular file has bytes"
    return handle.read()


def _bounded(data: bytes | None) -> bytes:
    if data is None:
        raise ValueError(f"it is larger than {_LARGEST_FILE // 2**20} MiB")
    return data


def _safe_name(archive: Path, raw: str) -> str:
    name = raw.replace("\\", "/")  # some Windows programs write them so
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise _unsafe(archive, raw, "a name that leads out of the folder")
    return str(path)  # without "./"


def _unsafe(archive: Path, name: str, what: str) -> UserError:
    return UserError(
        f"data.root={archive} holds the unsafe entry {name!r} ({what}) and is not read: "
        f"pack it again with plain files and folders only"
    )


def _sorted_unique(archive: Path, names: list[str]) -> list[str]:
    names.sort()
    for name, following in itertools.pairwise(names):
        if name == following:
            raise UserError(f"data.root={archive} holds {name!r} twice: pack it again with one entry per file")
    return names


def _archive_fingerprint(path: Path) -> str:
    # Size and time alone could agree by chance between archives of equal length packed in the same second.
    status = path.stat()
    with path.open("rb") as handle:
        digest = hashlib.sha256(handle.read(_SAMPLED_BYTES))
        handle.seek(max(0, status.st_size - _SAMPLED_BYTES))
        digest.update(handle.read())
    return f"archive {status.st_size} {status.st_mtime_ns} {digest.hexdigest()}"


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise UserError(f"data.root={path} is damaged or cut off ({error}): fetch or pack it again") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile's words for unknown compression and for encryption
        raise UserError(f"data.root={path} cannot be read ({error}): pack it again without encryption") from error
