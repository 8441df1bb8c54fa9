"""How what was chosen gets into a config: what the user gave wins, and a run that goes on does not choose again."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from adversaria.config.admission import Trust
from adversaria.config.build import construct
from adversaria.config.fields import check_train_config
from adversaria.config.overrides import may_be_stored
from adversaria.config.plain import Plain
from adversaria.core.errors import UserError
from adversaria.data.images.survey import Survey
from adversaria.data.module import DataModule
from adversaria.recipes.machine import Machine

T = TypeVar("T")


class Choice(NamedTuple):
    """A value and why it was chosen."""

    value: Any
    reason: str


class Auto(Protocol):
    """What `settle` needs of an object under ``auto``.

    Attributes:
        fields: names of what it chooses, and for each the config's keys that get the value.
        needs: those names whose keys a config must have; the others are left out where it has not.
        keep: keys that keep the value that the config has already.
        choices: by key, what was chosen before; None: nothing yet.
    """

    fields: Mapping[str, Sequence[str]]
    needs: Sequence[str]
    keep: Sequence[str]
    choices: Mapping[str, Any] | None

    def choose(self, survey: Survey, machine: Machine, given: Mapping[str, Any]) -> Mapping[str, Choice]:
        """A choice for each name of ``fields``; ``given`` holds, by name, the values that are settled already."""
        ...


class Picks(dict[str, Choice]):
    """The choices so far; each may build on those before it.

    Usage:
        >>> picks = Picks(given={"size": 64})
        >>> size = picks.pick("size", 128, "the images have 178 pixels")  # 64
        >>> batch = picks.pick("batch", 4096 // size, "4096 / size")
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.given = given

    def pick(self, name: str, value: T, reason: str) -> T:
        """Notes a choice; returns the value that holds: the given one, if there is one."""
        self[name] = Choice(value, reason)
        holds: T = self.given.get(name, value)
        return holds


def settle(
    config: Plain, overrides: Iterable[str], stored: Plain | None, trust: Trust | None = None
) -> tuple[Plain, list[str]]:
    """``config`` with what its ``auto`` chooses; the choices are noted under ``auto.choices``.

    Args:
        config: of a run, plain and resolved; left as it is.
        overrides: of the command line, as Hydra has them: what is named there is not chosen.
        stored: the config of the run that goes on, whose choices are taken as they were made, on whatever machine;
            None: a new run.
        trust: whose code the config may name; None: no file brought any of it.

    Returns:
        The config, and a line for each choice: key, value and reason.

    Raises:
        UserError: the config or the data has no place for the choices, or the data cannot be read.
    """
    node = config.get("auto")
    if not node:
        return config, []
    check_train_config(config)
    trust = trust or Trust(config["trust"])
    auto: Auto = construct(node, "auto", trust)
    given = [_key(override) for override in overrides]
    earlier = _earlier(stored, auto)
    settled = copy.deepcopy(config)
    if earlier is not None:
        settled["auto"]["choices"] = dict(earlier)
        for key, value in earlier.items():
            if not _is_given(key, given) and _get(config, key, _ABSENT) is not _ABSENT:
                _set(settled, key, value)
        return settled, [f"{key}={_shown(value)}: as chosen when the run began" for key, value in earlier.items()]
    places = _places(auto, config)
    held = {key for keys in places.values() for key in keys if key in auto.keep or _is_given(key, given)}
    fixed = {name: _get(config, keys[0]) for name, keys in places.items() if keys and held.issuperset(keys)}
    chosen = auto.choose(_survey(config, trust), Machine.of(config["trainer"]), fixed)
    lines, made = [], {}
    for name, keys in places.items():
        for key in keys:
            if key in held:
                lines.append(f"{key}={_shown(_get(config, key))}: as given")
                continue
            made[key] = chosen[name].value
            _set(settled, key, made[key])
            lines.append(f"{key}={_shown(made[key])}: {chosen[name].reason}")
    settled["auto"]["choices"] = made
    return settled, lines


def _earlier(stored: Plain | None, auto: Auto) -> Mapping[str, Any] | None:
    """What was chosen when the run began; None for a new run.

    Raises:
        UserError: there is more than can be chosen; a file may have come from elsewhere.
    """
    node = (stored or {}).get("auto")
    earlier: Any = (node.get("choices") if isinstance(node, dict) else None) or auto.choices
    if earlier is None:
        return None
    known = {key for keys in auto.fields.values() for key in keys if may_be_stored(key)}
    if not isinstance(earlier, Mapping) or not known.issuperset(earlier):
        raise UserError("auto.choices of the run's config.yaml are not what auto chooses; choose another run_dir")
    return earlier


def _places(auto: Auto, config: Plain) -> dict[str, list[str]]:
    """By name the keys that the config has."""
    places = {
        name: [key for key in keys if _get(config, key, _ABSENT) is not _ABSENT] for name, keys in auto.fields.items()
    }
    for name in auto.needs:
        if absent := [key for key in auto.fields[name] if key not in places[name]]:
            raise UserError(
                f"auto chooses {absent[0]}, which the chosen networks do not have; add auto=none and give data.size and"
                " data.batch_size yourself"
            )
    return places


def _survey(config: Plain, trust: Trust) -> Survey:
    data: DataModule = construct(config["data"], "data", trust)
    found = data.survey()
    if found is None:
        raise UserError(f"auto chooses for images, and data={data.name} has none; add auto=none")
    return found


def _key(override: str) -> str:
    """``++data.size=32`` -> ``data.size``"""
    return override.partition("=")[0].lstrip("+~").partition("@")[0].strip()


def _is_given(key: str, given: Sequence[str]) -> bool:
    """Whether ``key``, something below it or a node above it is on the command line.

    A name without a dot is that of a group, whose choice names no key.
    """
    return any(
        name == key or name.startswith(f"{key}.") or ("." in name and key.startswith(f"{name}.")) for name in given
    )


_ABSENT = object()


def _get(config: Plain, key: str, absent: Any = None) -> Any:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return absent
        node = node[part]
    return node


def _set(config: Plain, key: str, value: Any) -> None:
    *folders, last = key.split(".")
    node = config
    for part in folders:
        node = node[part]
    node[last] = value


def _shown(value: Any) -> str:
    """As on a command line."""
    return {"True": "true", "False": "false", "None": "null"}.get(str(value), str(value))
