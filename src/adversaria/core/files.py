"""Files as the package writes and reads them: whole or not at all, never through a link, never without a bound.

A folder may come from elsewhere: what lies in it under a name that we are about to write may be a link to a file of
the user's. Nothing here follows one. (The folder itself may be one: that is how people put runs on another disk.)
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import yaml
from filelock import FileLock, Timeout

from adversaria.core.errors import UserError
from adversaria.core.text import ESCAPED, shown

# Windows has no such flag; making a link takes rights there that an archive does not give.
_NOFOLLOW: int = 0 if sys.platform == "win32" else os.O_NOFOLLOW
#: without waiting for who is at the other end of a pipe
_NOWAIT: int = 0 if sys.platform == "win32" else os.O_NONBLOCK

#: bytes of a text file that is read whole, such as a stored config
LARGEST_TEXT = 16 * 2**20
_LARGEST_YAML = 2**20
#: nodes of a YAML file, each as often as an alias repeats it
_MOST_NODES = 20_000
#: characters of a whole number in one, which may be written in bases that Python reads without a bound
_LONGEST_NUMBER = 100


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the place of ``path`` at the end of the block; after an error none does.

    The temporary file lies in the same folder under a name that nobody can have put there before, and goes when the
    block raises. A link at ``path`` is replaced, not followed.

    Args:
        path: of the file; its folder must exist.
        durable: reaches the disk before it is called ``path``, and so survives a loss of power.

    Raises:
        UserError: a folder, a device or a pipe is in its place, which a file would take.
        OSError: it cannot be written; ``path`` is what it was.
    """
    # Even /dev/null can be replaced by who may do anything.
    if path.exists() and not path.is_symlink() and not path.is_file():
        raise UserError(f"{shown(path)} is no regular file but a folder, a device or a pipe; choose another place")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        # 0o666 is cut by the umask, as for any other file
        with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666), "w+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:  # a write does not know where
            error.filename = str(path)
        raise
    if durable and os.name == "posix":  # elsewhere folders cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str, *, durable: bool = False, errors: str = ESCAPED) -> None:
    """Writes a UTF-8 text file whole or not at all.

    Args:
        path: of the file; its folder must exist.
        text: to be written.
        durable: as for `replacing`.
        errors: what becomes of bytes in a name that are not UTF-8: they are escaped, for those who look at the file, or
            with ``"surrogateescape"`` written as they are, for `read_text` to bring back.
    """
    with replacing(path, durable=durable) as file:
        file.write(text.encode("utf-8", errors))


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Writes plain values as JSON, whole or not at all; what is not finite becomes null."""
    write_text(path, json.dumps(_without_nan(value), indent=2) + "\n", durable=durable)


def append(path: Path) -> IO[str]:
    """A UTF-8 text file to add lines to, made if it is not there.

    Raises:
        UserError: a link, a folder or a device is in its place.
        OSError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NOFOLLOW | _NOWAIT, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise UserError(f"{path} is no regular file but a link, a folder or a pipe; remove it") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path} is no regular file; remove it")
    return os.fdopen(descriptor, "a", encoding="utf-8", errors=ESCAPED, newline="")


def subfolder(folder: Path, *names: str) -> Path:
    """``folder/<name>/...``, made if it is not there.

    Raises:
        UserError: one of them is a link, through which files of another place would be written.
    """
    for name in names:
        folder = folder / name
        if folder.is_symlink():
            raise UserError(
                f"{folder} is a link, and nothing is written through one; remove it, or put its content there"
            )
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keeps other processes out of the same block as long as it lasts, by a file at ``path``.

    Raises:
        BlockingIOError: another process is in it, and ``wait`` is false.
        UserError: a link is in the file's place.
        OSError: it cannot be made.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link where a file belongs; remove it")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path)) from error
    try:
        yield
    finally:
        lock.release()


def read_text(path: Path, *, largest: int = LARGEST_TEXT, errors: str = ESCAPED) -> str:
    """A text file of at most ``largest`` bytes; those that are not UTF-8 are escaped, or as ``errors`` says.

    Raises:
        UserError: it is larger than any that the package writes, or no regular file (reading a pipe may never end).
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UserError(f"{path} is no regular file; remove it")
        content = file.read(largest + 1)
    if len(content) > largest:
        raise UserError(f"{path} is larger than {largest >> 20} MiB, which no file of its kind is; remove it")
    return content.decode("utf-8", errors)


def read_json(path: Path) -> Any:
    """Plain values from a JSON file of bounded size.

    Raises:
        UserError: it holds no JSON.
        OSError: it cannot be read.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} holds no JSON ({error}); it is damaged or no file of adversaria's") from error


def read_yaml(path: Path) -> Any:
    """Plain values from a YAML file of bounded size.

    Raises:
        UserError: it holds no YAML, or its aliases (or its nesting) would unfold to more than a config can hold.
        OSError: it cannot be read.
    """
    text, too_many = read_text(path, largest=_LARGEST_YAML), f"{shown(path)} unfolds to more than {_MOST_NODES} values"
    try:
        # Reading all of a file that is large for nothing takes minutes; its events come one by one.
        if any(True for _ in itertools.islice(yaml.parse(text, Loader=yaml.SafeLoader), _MOST_NODES, None)):
            raise UserError(f"{too_many}, which no config holds")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and _unfolded(root, {}) > _MOST_NODES:
            raise UserError(f"{too_many}, which no config holds")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date that is none
        raise UserError(f"{path} holds no YAML ({str(error).splitlines()[0]})") from error


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file without waiting for whoever writes to it, as a pipe would."""
    return os.open(path, flags | _NOWAIT)


def _unfolded(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a YAML node holds, each as often as an alias repeats it."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MOST_NODES  # an alias to a node that it lies in never ends
    children: list[Any] = []
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int") and len(node.value) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(node.value)} characters")
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    known[id(node)] = 1 + sum(_unfolded(child, known) for child in children)
    return known[id(node)]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """``cache_dir``, else the environment's ``ADVERSARIA_CACHE``, else ``~/.cache/adversaria``."""
    return Path(cache_dir or os.environ.get("ADVERSARIA_CACHE") or "~/.cache/adversaria").expanduser()
