"""What a library or the machine raises, as one sentence that names keys and values of the config.

Libraries check their arguments late, in words of their own, and with errors of every kind. Two blocks turn these into
`UserError`: `blamed` whatever is raised while a part is made or a run starts, `told` the little that is never the
fault of the code, whenever it happens: files that cannot be read or written, and memory that is used up. Everything
else after the start keeps its traceback. The traceback of a sentence is shown with ``HYDRA_FULL_ERROR=1``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from adversaria.config.plain import Plain, flatten
from adversaria.core.errors import CutShort, UserError
from adversaria.core.text import shown, typed

#: how keys end that decide how much memory is taken
_SIZES = re.compile(
    r"(.*_)?(batch|batch_size|width|widths|size|dim|depth|count|features|channels|blocks|units|generators|pack|packed|"
    r"batches|num_workers|history)"
)
#: how a lack of memory is said where it has no class of its own; the last two are sizes that no machine has
_NO_MEMORY = re.compile(
    r"can't allocate memory|out of memory|not enough memory|[Cc]annot allocate memory|[Uu]nable to allocate|"
    r"[Ss]torage size calculation overflowed|numel: integer multiplication overflow|array is too big"
)
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+ ?\w*)|[Uu]nable to allocate ([\d.]+ \w+)")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: errors by which libraries say that an argument is wrong
_REFUSALS = (ValueError, RuntimeError, OSError, NotImplementedError, ImportError)


@contextlib.contextmanager
def blamed(where: str, node: Plain, who: str = "", *, sizes: Plain | None = None) -> Iterator[None]:
    """Whatever is raised in the block becomes a `UserError` that names fields and their values.

    Args:
        where: what is being made, as the user knows it: the path of ``node``, or a few words.
        node: plain; its fields are named that the message is about.
        who: the class or function that is called, if it is one.
        sizes: the config whose sizes are named where memory lacks; None: ``node``, at the path ``where``.

    Raises:
        UserError: instead of any other `Exception`; a disk without room is passed on, for it says something of the
            run, too.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if no_room(error):
            raise
        fields = flatten(node, f"{where}.") if sizes is None else flatten(node)
        said = of_circumstances(error, fields if sizes is None else flatten(sizes))
        raise UserError(said or _refusal(error, where, fields, who)) from error


def starting(config: Plain, what: str) -> contextlib.AbstractContextManager[None]:
    """`blamed` for the building and the start of a whole run, of which the trainer's settings may be named."""
    return blamed(what, {key: config.get(key) for key in ("trainer", "compile")}, sizes=config)


def no_room(error: Exception) -> TypeGuard[OSError]:
    """Whether a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


@contextlib.contextmanager
def told(config: Plain, *, saved: str = "") -> Iterator[None]:
    """Files that cannot be read or written and memory that is used up become a `UserError`; all else is passed on.

    Args:
        config: plain; its sizes are named where memory lacks.
        saved: what of a run is saved, if one has begun.

    Raises:
        UserError: if nothing was trained yet, else `CutShort`.
    """
    try:
        yield
    except Exception as error:
        sentence = None if isinstance(error, UserError) else of_circumstances(error, flatten(config))
        if sentence is None:
            raise
        raise (CutShort(f"{sentence}; {saved}") if saved else UserError(sentence)) from error


def of_circumstances(error: Exception, fields: Mapping[str, Any]) -> str | None:
    """A sentence for an error of the file system or of memory; None for any other.

    Args:
        error: what was raised.
        fields: by dotted keys; those that decide how much memory is taken are named.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY.search(str(error)):
        asked = _ASKED.search(str(error))
        said = f"; {next(filter(None, asked.groups()))} were asked for at once" if asked else ""
        return f"there is not enough memory{said}: {_largest_sizes(fields) or 'the sizes'} may be too large"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, BrokenPipeError):
        names = [shown(name) for name in (error.filename, error.filename2) if name is not None]
        room = "make room or " if no_room(error) else ""
        said = error.strerror or os.strerror(error.errno)
        return f"{' and '.join(names) or 'a file'}: {said}; {room}choose another file or folder"
    return None


def _refusal(error: Exception, where: str, fields: Mapping[str, Any], who: str) -> str:
    said = _first_line(error)
    named = ", ".join(f"{key}={typed(value)}" for key, value in fields.items() if _mentions(said, key, value))
    refuses = isinstance(error, _REFUSALS) or type(error).__module__.startswith("lightning")
    if not refuses:
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    verb = "is refused" if refuses else "fails"
    expected = refuses and (named or not isinstance(error, RuntimeError))
    hint = "" if expected else "; HYDRA_FULL_ERROR=1 shows where"
    return f"{named or where} {verb}{f' by {who}' if who and refuses else f' in {who}' if who else ''}: {said}{hint}"


def _mentions(said: str, key: str, value: Any) -> bool:
    """Whether an error's message is about a field: by its name, or by a value that is not in every second message."""
    name = key.rpartition(".")[2]
    words = [name] if len(name) > 2 and not name.startswith("_") else []
    if not isinstance(value, bool | None) and str(value) not in ("", "0", "1", "auto") and name != "_target_":
        words.append(str(value))
    return any(re.search(rf"(?<![\w.]){re.escape(word)}(?![\w])", said) for word in words)


def largest_sizes(node: Plain, path: str) -> str:
    """The fields below ``path`` that decide most how much memory is taken, as they are typed."""
    return _largest_sizes(flatten(node, f"{path}.")) or "the sizes"


def _largest_sizes(fields: Mapping[str, Any]) -> str:
    sizes = {
        key: value
        for key, value in fields.items()
        if isinstance(value, int) and not isinstance(value, bool) and _SIZES.fullmatch(key.rpartition(".")[2])
    }
    # Of one that is beyond all others nobody needs to hear the others.
    largest = [key for key in sorted(sizes, key=lambda key: -sizes[key]) if sizes[key] * 1000 > max(sizes.values())]
    return ", ".join(f"{key}={sizes[key]}" for key in largest[:4])


def _first_line(error: Exception) -> str:
    """The first line of an error's message that says something, whole up to 300 characters, without a full stop."""
    lines = [line.strip() for line in str(error).splitlines()]
    return shown(next(filter(None, lines), ""), 300).rstrip(".")
