"""What lies in the cache: which entries there are, of what, how large, and which of them nothing will open again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adversaria.core.errors import UserError
from adversaria.core.files import locked, read_json
from adversaria.data.cache.store import FORMAT_VERSION, META

_ENTRY = re.compile(r"[^.].*-[0-9a-f]{16}")
_LEFTOVER = re.compile(r"\.(?P<entry>.+-[0-9a-f]{16})\.(unfinished|[0-9a-f]{32})\.(tmp|old)")


@dataclass(frozen=True)
class Kept:
    """One folder of the cache.

    Attributes:
        path: of the folder.
        of: the data set's place or name.
        nbytes: of all its files.
        superseded: why no start will open it again; empty for an entry that is in use.
    """

    path: Path
    of: str
    nbytes: int
    superseded: str


def entries(folder: Path) -> list[Kept]:
    """The entries of the cache ``folder``, by name; links in it, and what is not the cache's, are passed over.

    An entry is superseded when it has an older format, when the same place has been decoded again with other content,
    or when its making was cut off (the same command would go on from there).
    """
    if not folder.is_dir():
        return []
    metas: dict[Path, dict[str, Any]] = {}
    leftovers: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            continue
        if _LEFTOVER.fullmatch(path.name):
            leftovers.append(path)
        elif _ENTRY.fullmatch(path.name) and (path / META).is_file():
            metas[path] = _meta(path)
    newest: dict[str, Path] = {}
    for path in sorted(metas, key=lambda path: (path / META).stat().st_mtime_ns):
        newest[_same(metas[path])] = path
    found = []
    for path, meta in metas.items():
        reason = ""
        if meta.get("key", {}).get("format") != FORMAT_VERSION:
            reason = "an older format"
        elif newest[_same(meta)] != path:
            reason = "decoded again since"
        found.append(Kept(path, str(meta.get("of", "")), _size(path), reason))
    return [*found, *(Kept(path, "", _size(path), "unfinished") for path in leftovers)]


def remove(kept: Iterable[Kept]) -> int:
    """Removes entries whole, but not those that a process is making; the number of bytes that are free then.

    Raises:
        UserError: one cannot be removed.
    """
    freed = 0
    for entry in kept:
        leftover = _LEFTOVER.fullmatch(entry.path.name)
        name = leftover["entry"] if leftover else entry.path.name
        try:
            with locked(entry.path.with_name(f".{name}.lock")):
                shutil.rmtree(entry.path)  # which removes links themselves, never what they lead to
        except BlockingIOError:
            continue
        except OSError as error:
            raise UserError(f"{entry.path} cannot be removed ({error}): check its rights") from error
        freed += entry.nbytes
    return freed


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta = read_json(path / META)
    except (UserError, OSError):
        return {}
    return meta if isinstance(meta, dict) and isinstance(meta.get("key"), dict) else {}


def _same(meta: dict[str, Any]) -> str:
    """What entries share of which only the newest is opened: the place and the transform, not the content."""
    key = {name: value for name, value in meta.get("key", {}).items() if name != "source"}
    return json.dumps([meta.get("of", ""), key, None if meta.get("of") else meta], sort_keys=True)


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_symlink() and file.is_file())
