"""A command line as Hydra reads it: which arguments are choices, what they choose, and how text is quoted.

Hydra's own parser reads every argument here, before Hydra does: what it cannot read, or reads as something else than a
path where a path belongs, is answered with the argument as it has to be typed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adversaria.config import aliases
from adversaria.config.overrides import parse
from adversaria.core.errors import UserError
from adversaria.core.text import shown

#: Hydra's options that take the argument after them
_WITH_VALUE = {
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--package", "-p", "--info", "-i", "--cfg", "-c", "--experimental-rerun"),
}
_MULTIRUN = ("-m", "--multirun")
#: keys whose values are paths
_PATHS = re.compile(
    r"run_dir|sweep_dir|checkpoint|images|latents|reference|out|runs|callbacks\.warm_start\.checkpoint|(.+\.)?(root|cache_dir)"
)
_KEY_AND_VALUE = re.compile(r"(?P<sign>[+~]*)(?P<key>[^\s=]+)=(?P<value>.*)", re.DOTALL)


def quoted(text: str, quote: str = "'") -> str:
    """``text`` as Hydra reads it back, whatever it holds.

    A backslash counts only before a quote or an interpolation, where it is doubled. Source: Hydra 1.3, "Extended
    override syntax", quoted values; OmegaConf 2.3, "Escaping in string interpolations".
    """
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    text = re.sub(rf"(\\*)({quote}|\Z)", lambda match: match[1] * 2 + (match[2] and f"\\{match[2]}"), text)
    return f"{quote}{text}{quote}"


def is_choice(arguments: Sequence[str]) -> list[bool]:
    """For each argument, whether it is for the config, such as ``key=value``, and not an option or its value."""
    after = [False, *(argument in _WITH_VALUE for argument in arguments)]
    return [not is_value and not argument.startswith("-") for argument, is_value in zip(arguments, after, strict=False)]


def choices_first(arguments: Sequence[str]) -> list[str]:
    """The same arguments with options last, for Hydra refuses choices on both sides of an option."""
    are_choices = is_choice(arguments)
    options = [argument for argument, choice in zip(arguments, are_choices, strict=True) if not choice]
    return choices(arguments) + options


def typed_today(arguments: Sequence[str]) -> list[str]:
    """The same arguments with choices as they are written today."""
    are_choices = is_choice(arguments)
    return [aliases.typed_today(a) if choice else a for a, choice in zip(arguments, are_choices, strict=True)]


def chosen(arguments: Sequence[str], key: str) -> Any:
    """What a command line chooses for ``key``, resolved; the last one wins, as in Hydra. None if nothing is chosen."""
    overrides = [override for argument in choices(arguments) if (override := parse(argument))]
    last = next((override for override in reversed(overrides) if override.key_or_group == key), None)
    if last is None or last.type == OverrideType.DEL or last.is_sweep_override():
        return None
    try:
        return OmegaConf.to_container(OmegaConf.create({key: last.value()}), resolve=True)[key]  # type: ignore[index, call-overload]
    except OmegaConfBaseException:  # it refers to another key, which only the whole config has
        return None


def check(arguments: Sequence[str]) -> None:
    """Reads a command line as Hydra will.

    Raises:
        UserError: Hydra cannot read an argument, or reads a path or several values where one text is meant; the
            sentence shows what to type.
    """
    several = any(argument in _MULTIRUN or "hydra.mode=" in argument for argument in arguments)
    given = choices(arguments)
    for previous, argument in zip(["", *given], given, strict=False):
        override = parse(argument)
        if override is None:
            raise UserError(_unreadable(argument, previous))
        if override.is_sweep_override():
            if not several:
                raise UserError(_ambiguous(argument, override))
        elif _PATHS.fullmatch(override.key_or_group) and not _is_path(override.key_or_group, override.value()):
            raise UserError(_no_path(argument, override))


def as_typed(argument: str) -> str:
    """``key=value`` with the value as text, in quotes for Hydra and for the shell."""
    match = _KEY_AND_VALUE.fullmatch(argument)
    key, value = (match["sign"] + match["key"], match["value"]) if match else (argument, "...")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    typed = shlex.quote(key + "=" + quoted(value, '"').replace(r"\${", "${"))  # an interpolation stays one
    return typed if shown(typed, len(typed)) == typed else f"'{shown(key)}=\"...\"'"


def choices(arguments: Sequence[str]) -> list[str]:
    """Those of the arguments that are for the config."""
    return [argument for argument, choice in zip(arguments, is_choice(arguments), strict=True) if choice]


def _is_path(key: str, value: Any) -> bool:
    values = value if key == "runs" and isinstance(value, list) else [value]
    return all(item is None or isinstance(item, str) for item in values)


def _no_path(argument: str, override: Override) -> str:
    """What is wrong with a value that is no text, where a path belongs."""
    value = override.value()
    if override.key_or_group == "runs" and isinstance(value, list):
        return f'{shown(argument)} lists more than text; quote each path, as in \'runs=["2024","my runs"]\''
    kind = {list: "a list", dict: "a mapping", bool: "a truth value"}.get(type(value), "a number")
    return f"{shown(argument)} is read as {kind}, and a path is text; type {as_typed(argument)}"


def _unreadable(argument: str, previous: str) -> str:
    """What is wrong with an argument that Hydra cannot read."""
    match = _KEY_AND_VALUE.fullmatch(argument)
    if match is None:
        said = f"{shown(argument) or 'an empty argument'} is no choice such as key=value"
        if _KEY_AND_VALUE.fullmatch(previous):
            said += f"; if it belongs to {shown(previous)}, type {as_typed(f'{previous} {argument}')}"
        return said
    said = f"{shown(argument)} has characters that Hydra reads in another way"
    if _PATHS.fullmatch(match["key"]):
        return f"{said}; type {as_typed(argument)}"
    opening = next(
        (pair for pair in ("[]", "{}", "()") if match["value"].count(pair[0]) != match["value"].count(pair[1])), None
    )
    hint = f"a {opening[0]} or {opening[1]} is missing, or it is text:" if opening else "if it is text,"
    return f"{said}; {hint} type {as_typed(argument)}"


def _ambiguous(argument: str, override: Override) -> str:
    """What is wrong with several values in a command that takes one."""
    if _PATHS.fullmatch(override.key_or_group):
        return f"{shown(argument)} is read as several values; type {as_typed(argument)}"
    if not override.is_choice_sweep() or "(" in argument:
        return f"{shown(argument)} has several values; add -m to try each"
    as_list = shlex.quote("{}=[{}]".format(*argument.split("=", 1)))
    return (
        f"{shown(argument)} has several values; add -m to try each, or type {as_list} for a list, {as_typed(argument)} "
        "for text"
    )
