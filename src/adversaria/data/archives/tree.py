"""A folder, a .tar (.gz, .xz, .bz2) or a .zip as one thing: relative file names and their bytes, read and never run.

Nothing is unpacked here. An archive with an entry that could reach outside the folder it is unpacked to (absolute or
climbing names, links, devices) is refused as a whole: such an archive is either broken or hostile.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
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
from typing import IO, Any, NamedTuple, Protocol, cast

from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.data.archives.index import FileIndex, hidden, index_of

ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".zip")
# No picture is this large; a few compressed kilobytes could otherwise swell until the memory is full.
_LARGEST_FILE = 256 * 2**20
_SAMPLED_BYTES = 2**20
_KEPT_BYTES = 256 * 2**20
# What reading a damaged archive raises; the last two where a header states an impossible size.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    OverflowError,
    ValueError,
)


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

    def heads(self, wanted: Collection[str], count: int) -> Iterator[tuple[str, bytes]]:
        """The names of the ``wanted`` files and their first ``count`` bytes (empty where they cannot be read)."""
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
        # Of a relative path nobody sees which folder it starts from.
        place = "" if path.is_absolute() else f" in {shown(Path.cwd())}"
        raise UserError(f"data.root={shown(path)} does not exist{place}: give an existing folder or archive")
    if not path.is_file():  # a pipe or a device may never end
        raise UserError(f"data.root={shown(path)} is neither a folder nor a file: give an existing folder or archive")
    with _damage_reported(path):
        # Tar first: a tar file that ends with a stored zip file looks like a zip file too.
        if tarfile.is_tarfile(path):
            return TarTree(path)
        if zipfile.is_zipfile(path):
            return ZipTree(path)
    raise UserError(
        f"data.root={shown(path)} is neither a folder nor a readable archive ({', '.join(ARCHIVE_ENDINGS)}): "
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

    def heads(self, wanted: Collection[str], count: int) -> Iterator[tuple[str, bytes]]:
        """See `Tree`."""
        for name in wanted:
            try:
                with (self.path / name).open("rb") as handle:
                    yield name, handle.read(count)
            except OSError:
                yield name, b""

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

    def heads(self, wanted: Collection[str], count: int) -> Iterator[tuple[str, bytes]]:
        """See `Tree`."""
        if self._kept is not None:
            yield from ((name, self._kept[name][:count]) for name in wanted)
            return
        with _damage_reported(self.path):
            for name, member, tar in self._members():
                if name in wanted:
                    yield name, _extracted(tar, member, count)

    def _members(self) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
        # Not as tarfile's own stream, which reads on for ever when a header states more bytes than there are.
        with (
            self.path.open("rb") as stored,
            _decompressed(stored) as content,
            tarfile.open(fileobj=_Forwards(content), mode="r:") as tar,
        ):
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
                    data = _first(archive, info, info.file_size) if info.file_size <= _LARGEST_FILE else None
                    yield StoredFile(name, info.file_size, partial(_bounded, data))

    def heads(self, wanted: Collection[str], count: int) -> Iterator[tuple[str, bytes]]:
        """See `Tree`."""
        with _damage_reported(self.path), zipfile.ZipFile(self.path) as archive:
            for name, info in self._members(archive):
                if name in wanted:
                    yield name, _first(archive, info, count)

    def _members(self, archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        for info in archive.infolist():
            name = _safe_name(self.path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(self.path, info.filename, "a link or a device")
            if not info.is_dir() and not hidden(name):
                yield name, info


class _Forwards(io.BufferedIOBase):
    """A file that tarfile reads from its begin to its end, in pieces of bounded size whatever the headers state."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content

    def read(self, size: int | None = -1, /) -> bytes:
        """The next ``size`` bytes."""
        if size is None or not 0 <= size <= _LARGEST_FILE + tarfile.RECORDSIZE:
            raise tarfile.ReadError(f"a header states {size} bytes")
        return self._content.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Passes over what lies between; past the end it stays there."""
        if offset < self._content.tell():  # after a negative size the same header would come again and again
            raise tarfile.ReadError("a header states a negative size")
        try:
            return self._content.seek(offset, whence)
        except (OverflowError, ValueError, OSError) as error:
            raise tarfile.ReadError(f"a header states {offset} bytes") from error

    def tell(self) -> int:
        """How many bytes lie before this place."""
        return self._content.tell()


@contextmanager
def _decompressed(stored: IO[bytes]) -> Iterator[IO[bytes]]:
    """The content of a compressed file, by how it begins; else the file itself."""
    head = stored.read(6)
    stored.seek(0)
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(stored) as content:
            yield cast("IO[bytes]", content)
    elif head.startswith(b"BZh"):
        with bz2.open(stored) as content:
            yield content
    elif head.startswith((b"\xfd7zXZ\0", b"]\0\0")):
        with lzma.open(stored) as content:
            yield content
    else:
        yield stored


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo, count: int | None = None) -> bytes:
    handle = tar.extractfile(member)
    assert handle is not None, "a regular file has bytes"
    wanted = member.size if count is None else min(count, member.size)
    data = handle.read(wanted)
    if len(data) < wanted:
        raise tarfile.ReadError(f"it ends within {shown(member.name)}")
    return data


def _first(archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int) -> bytes:
    """The first bytes of an entry; never more are unpacked, whatever the entry really holds."""
    with archive.open(info) as handle:
        return handle.read(min(count, info.file_size))


def _bounded(data: bytes | None) -> bytes:
    if data is None:
        raise ValueError(f"it is larger than {_LARGEST_FILE // 2**20} MiB")
    return data


def _safe_name(archive: Path, raw: str) -> str:
    name = raw.replace("\\", "/")  # some Windows programs write backslashes
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise _unsafe(archive, raw, "a name that leads out of the folder")
    return str(path)  # without "./"


def _unsafe(archive: Path, name: str, what: str) -> UserError:
    return UserError(
        f"data.root={shown(archive)} holds the unsafe entry {shown(name)!r} ({what}) and is not read: "
        f"pack it again with plain files and folders only"
    )


def _sorted_unique(archive: Path, names: list[str]) -> list[str]:
    names.sort()
    for name, following in itertools.pairwise(names):
        if name == following:
            raise UserError(
                f"data.root={shown(archive)} holds {shown(name)!r} twice: pack it again with one entry per file"
            )
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
    except _DAMAGE as error:
        raise UserError(
            f"data.root={shown(path)} is damaged or cut off ({shown(error)}): fetch or pack it again"
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile's words for unknown compression and for encryption
        raise UserError(
            f"data.root={shown(path)} cannot be read ({shown(error)}): pack it again without encryption"
        ) from error
