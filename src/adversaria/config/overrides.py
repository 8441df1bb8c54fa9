"""What the ``overrides.txt`` of a run may bring back to a command line: choices for the run, and nothing else.

The file may come from elsewhere. Its lines are read by Hydra's own parser, so that no spelling gets around what is
said here; the keys of one start are left out, interpolations are those of the package or refused, and paths and
addresses count only if this machine has written them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import grammar_parser
from omegaconf.errors import OmegaConfBaseException

from adversaria.config.aliases import typed_today
from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError
from adversaria.core.files import append, cache_folder, read_text
from adversaria.core.text import shown

#: belong to one start, or to the command line alone
_OF_A_START = ("hydra", "trust", "run_dir", "sweep", "sweep_name", "sweep_dir")
_RESOLVERS = ("stylegan2_gamma", "given")
#: names of what is written to or contacted, wherever they stand
_PLACES = re.compile(r"root|\w*(dir|dirpath|path|folder|uri|url|host|address|endpoint|entity|token|key)")
_LOOKS_LIKE_ONE = re.compile(r"[/\\]|^[~.]|^[A-Za-z]\w*:")
#: of a file of overrides, each of which takes milliseconds to read
_LARGEST, _MOST_LINES = 2**20, 1000
#: loggers that write into the run's folder alone
_LOGGERS = ("csv", "tensorboard", "none")


def for_the_run(lines: Iterable[str]) -> list[str]:
    """Those of a command line's overrides that belong to the run, not to one start of it."""
    return [line for line in lines if not _of_a_start(line)]


def note(lines: Iterable[str]) -> None:
    """Notes that this machine has written these overrides of a run, so that they may bring back paths."""
    with contextlib.suppress(OSError, UserError):  # a cache that cannot be written: paths are to be given again
        file = _written_here()
        file.parent.mkdir(parents=True, exist_ok=True)
        digest = _digest(lines)
        if digest not in _noted():
            with append(file) as written:
                written.write(f"{digest}\n")


def brought_back(file: Path, given: Iterable[str]) -> list[str]:
    """The overrides of a run that is there, to stand before those of the command line.

    Args:
        file: the run's ``overrides.txt``.
        given: the command line's arguments; a path that is given there may stand in the file as well.

    Raises:
        UserError: the file is damaged, or says what no stored file may say.
    """
    lines = stored(file)
    foreign = _digest(lines) not in _noted()
    overrides = [(number, line, _parsed(file, number, typed_today(line))) for number, line in enumerate(lines, 1)]
    keys = {parsed.get_key_element().lstrip("+") for line in given if (parsed := parse(line))}
    kept = []
    for number, line, override in overrides:
        if override is None:
            continue
        where = f"{shown(file)}, line {number}: {shown(line, 80)}"
        if override.is_sweep_override():
            raise UserError(f"{where} has several values, and a run has one; remove the line")
        for text in _texts(override.value()):
            _check_interpolations(text, where)
        if foreign and _names_a_place(override):
            if override.get_key_element().lstrip("+") not in keys:
                raise UserError(
                    f"{where} names a path or an address that another machine has written; add what it should be here "
                    f"to the command, as in {shown(override.get_key_element())}=..."
                )
            continue
        kept.append(line)
    return kept


def refuse_foreign_places(config: Mapping[str, Any], file: Path, overrides: Path, given: Iterable[str]) -> None:
    """Refuses paths and addresses in a stored config that neither the package nor this machine has written.

    Args:
        config: what ``file`` holds, plain.
        file: the run's ``config.yaml``.
        overrides: its ``overrides.txt``; what this machine has written there may stand in the config.
        given: the command line's arguments, which replace what they name.

    Raises:
        UserError: names the first.
    """
    if _digest([read_text(file)]) in _noted():
        return
    lines = stored(overrides)
    own = [parsed for line in lines if (parsed := parse(typed_today(line)))] if _digest(lines) in _noted() else []
    known = {(o.key_or_group, text) for o in own for text in _texts(o.value())}
    keys = {parsed.key_or_group for line in given if (parsed := parse(line))}
    shipped: frozenset[str] | None = None
    for key, text in _places(config):
        if any(f"{key}.".startswith(f"{name}.") for name in keys) or (key, text) in known:
            continue
        shipped = _texts_of_conf() if shipped is None else shipped
        if text not in shipped:
            raise UserError(
                f"{shown(file)}, {shown(key)}={shown(text, 80)} names a path or an address that another machine has "
                f"written; add what it should be here to the command, as in {shown(key)}=..."
            )


def of_a_run(key: str) -> bool:
    """Whether a field at the top of a config belongs to the run, not to one start of it."""
    return key not in _OF_A_START and key != "defaults"


def may_be_stored(key: str) -> bool:
    """Whether a file may set ``key`` of a config: it belongs to the run, and says nothing of where to write."""
    names = key.split(".")
    return names[0] not in (*_OF_A_START, "logger") and not any(_PLACES.fullmatch(name) for name in names)


def stored(file: Path) -> list[str]:
    """The lines of an ``overrides.txt`` as they are; none if there is no file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        text = read_text(file, largest=_LARGEST, errors="surrogateescape")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{shown(file)} cannot be read ({error.strerror}); remove it") from error
    lines = [line for line in text.split("\n") if line]
    if len(lines) > _MOST_LINES:
        raise UserError(f"{shown(file)} has {len(lines)} lines, which no command line has; remove it")
    return lines


def _of_a_start(line: str) -> bool:
    """Whether it is an option of Hydra's, or an override of a key that belongs to one start."""
    override = parse(line)
    if override is None:
        return line.lstrip().startswith("-")
    places = [part for part in (override.key_or_group, override.package) if part]
    return any(_root(place) in _OF_A_START for place in places)


def _root(place: str) -> str:
    """The first name of a dotted key, a group or a package."""
    return next((part for part in re.split(r"[./@:\[\]]", place) if part not in ("", "_global_")), "")


@functools.lru_cache(maxsize=512)
def parse(line: str) -> Override | None:
    """An override as Hydra reads it; None if Hydra cannot."""
    try:
        return OverridesParser.create().parse_override(line)
    except (HydraException, RecursionError):  # nested without end
        return None


def _parsed(file: Path, number: int, line: str) -> Override | None:
    """The override; None for one that belongs to a start.

    Raises:
        UserError: it is none.
    """
    override = None if _of_a_start(line) else parse(line)
    if override is None and not _of_a_start(line):
        raise UserError(
            f"{shown(file)}, line {number} is no choice for a run ({shown(line, 40)}); the file is damaged: remove it, "
            "and give the run's choices on the command line"
        )
    return override


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (*_texts(key), *_texts(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _check_interpolations(text: str, where: str) -> None:
    """Raises UserError if ``text`` has an interpolation that reads more than the config itself."""
    if "${" not in text:
        return
    try:
        pending = [grammar_parser.parse(text)]
    except OmegaConfBaseException as error:
        raise UserError(f"{where} holds no interpolation that can be read; remove the line") from error
    while pending:
        node = pending.pop()
        kind, inner = type(node).__name__, node.getText()
        unknown = kind == "InterpolationResolverContext" and not inner.startswith(tuple(f"${{{n}:" for n in _RESOLVERS))
        of_hydra = kind == "InterpolationNodeContext" and _root(inner.removeprefix("${").rstrip("}")) in _OF_A_START
        nested = kind == "ConfigKeyContext" and "${" in inner
        if unknown or of_hydra or nested:
            raise UserError(
                f"{where} reads {shown(inner, 40)}; a stored file may refer to keys of the config alone: remove the "
                "line, and give the value on the command line"
            )
        pending += [node.getChild(k) for k in range(node.getChildCount())]


def _names_a_place(override: Override) -> bool:
    """Whether it says where something is written, or what is contacted."""
    key, value = override.key_or_group, override.value()
    if key == "logger":
        return any(text not in _LOGGERS for text in _texts(value)) or override.package is not None
    if key.startswith("logger.") or override.package is not None:
        return value is not None
    return _is_place(key.split(".")[-1], value)


def _is_place(name: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_is_place(str(key), item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(_is_place(name, item) for item in value)
    text = next(_texts(value), None)
    return text is not None and bool(_PLACES.fullmatch(name) or _LOOKS_LIKE_ONE.search(text))


def _places(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a config that says where something is written or what is contacted, with its dotted key."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if key or of_a_run(str(name)):
                yield from _places(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _places(value, key)
    elif isinstance(node, str) and node and _is_place(key.rpartition(".")[2], node):
        yield key, node


def _texts_of_conf() -> frozenset[str]:
    """Every text in the package's own configs of runs."""
    conf = conf_dir()
    files = [file for file in conf.rglob("*.yaml") if file.parent != conf / "hydra"]
    return frozenset(text for file in files for text in _texts(yaml.safe_load(read_text(file))))


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()


def _written_here() -> Path:
    return cache_folder(None) / "started.txt"


def _noted() -> set[str]:
    try:
        return set(read_text(_written_here()).split())
    except (OSError, UserError):
        return set()
