"""The fields at the top of each command's config, beside the groups: types and ranges, and that no other is there.

What stands within a group is checked against the constructor that the group names (`adversaria.config.build.check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from hydra.core.override_parser.types import OverrideType

from adversaria.config.overrides import parse
from adversaria.config.plain import COMPILE, Plain, conf_dir, near
from adversaria.config.schema import refuse_misfit
from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount, Between, Count, Length, NonNegative, Positive, Seed
from adversaria.core.text import shown

#: of a group: one choice that must be there, one that may be empty or missing, or several under names
_ONE, _OPTIONAL, _NAMED = "one choice", "at most one choice", "choices by name"

#: the number of a class
Class = Annotated[int, Between(0, 2**20)]

_COMMON: Mapping[str, Any] = {"trust": list[str], "sweep_name": str}
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "train": {
        **dict.fromkeys(("model", "optim", "data", "trainer"), _ONE),
        **dict.fromkeys(("loss", "augment", "auto"), _OPTIONAL),
        **dict.fromkeys(("regulariser", "metrics", "callbacks", "logger"), _NAMED),
        "run_dir": str | None,
        "seed": Seed,
        "channels_last": bool,
        "compile": bool | Literal[COMPILE],
        "sweep_dir": str | None,
    },
    "sample": {
        "checkpoint": str,
        "count": Count | None,
        "latents": str | None,
        "seed": Seed,
        "format": str | None,
        "labels": Class | str | list[Class | str] | None,
        "interpolate": Annotated[int, Between(2, 10_000)] | None,
        "traverse": str | None,
        "truncation": Positive | None,
        "raw": bool,
        "standing": Annotated[int, Between(1, 100_000)] | None,
        "images": str | None,
        "degrade": bool,
        "out": str | None,
        "batch_size": Annotated[int, Between(1, 2**20)],
    },
    "evaluate": {
        # a data set brings settings of runs along
        **dict.fromkeys(("data", "usefulness", "memorisation", "trainer", "callbacks"), _OPTIONAL),
        "metrics": _NAMED,
        **dict.fromkeys(("checkpoint", "images", "reference", "out"), str | None),
        "seed": Seed,
        "raw": bool,
        "standing": Annotated[int, Between(1, 100_000)] | None,
    },
    "invert": {
        **dict.fromkeys(("checkpoint", "images"), str),
        "count": Count | None,
        "labels": Class | str | list[Class | str] | None,
        "space": Literal["z", "w"] | None,
        "starts": Annotated[int, Between(1, 2**20)],
        "keep": Annotated[int, Between(1, 2**10)],
        "steps": Amount,
        "lr": Positive,
        **dict.fromkeys(("features", "prior"), NonNegative),
        "interpolate": Annotated[int, Between(2, 1000)] | None,
        "directions": list[Literal["labels", "sefa"]],
        "sefa_count": Annotated[int, Between(1, 2**10)],
        "reach": Positive,
        "columns": Annotated[int, Between(2, 1000)],
        "seed": Seed,
        "raw": bool,
        "batch_size": Annotated[int, Between(1, 2**20)],
        "out": str | None,
    },
    "cache": {"cache_dir": str | None, "remove": str | list[str] | None},
    "compare": {"runs": str | Annotated[list[str], Length(1, 2**16)], "out": str | None, "strict": bool},
    "doctor": {"runs": str | Annotated[list[str], Length(1, 2**16)], "strict": bool, "detectors": dict},
}


def check_fields(command: str, config: Plain) -> None:
    """Checks what stands at the top of a command's config.

    Args:
        command: the name of its file in ``conf/``.
        config: plain and resolved.

    Raises:
        UserError: a key that the command does not have or that is missing, a value of another type or out of range, or
            something in a group's place that is no choice of the group.
    """
    fields = {**_COMMON, **_FIELDS[command]}
    for key in config:
        if key not in fields and key != "hydra":
            raise UserError(f"{shown(key)} is not a key or group of {command}.yaml{near(str(key), fields)}")
    for key, hint in fields.items():
        if hint in (_ONE, _OPTIONAL, _NAMED):
            _check_group(key, hint, config.get(key))
        elif key not in config:
            raise UserError(f"{key} is missing; leave ~{key} out of the command")
        else:
            refuse_misfit(config[key], hint, key)


def check_train_config(config: Plain) -> None:
    """The fields at the top of a run's config, and what must be right between two groups.

    Raises:
        UserError: as `check_fields`; or says which fields do not go together and what to change.
    """
    check_fields("train", config)
    for key in ("accelerator", "devices", "num_nodes", "strategy", "precision", "max_steps"):
        if key not in config["trainer"]:
            raise UserError(f"trainer.{key} is needed; leave ~trainer.{key} out of the command")
    batch, microbatches = config["data"].get("batch_size"), config["optim"].get("accumulate", 1)
    generator_batch = config["optim"].get("generator_batch") or batch
    if all(isinstance(n, int) and n > 0 for n in (batch, microbatches, generator_batch)) and (
        batch % microbatches or generator_batch % microbatches
    ):
        raise UserError(
            f"optim.accumulate={microbatches} does not divide data.batch_size={batch} and optim.generator_batch="
            f"{generator_batch}; choose a number that divides both"
        )


def known_keys(command: str) -> list[str]:
    """Keys and groups at the top of a command's config."""
    return [*_COMMON, *_FIELDS[command]]


def _check_group(group: str, how: str, node: Any) -> None:
    if how == _ONE and not node:
        raise UserError(f"{group} is {_said(node)}, but there must be one; choose {group}={_example(group)}")
    if node is not None and not isinstance(node, dict):
        raise UserError(f"{group}={_said(node)} is no choice of the group {group}; choose one, as {_example(group)}")


def _said(node: Any) -> str:
    return {None: "null", "": "empty"}.get(node, shown(node)) if not isinstance(node, dict | list) else shown(node)


def _example(group: str) -> str:
    choices = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    return ", ".join(choices[:3]) + (", ..." if len(choices) > 3 else "")


def check_choices(command: str, overrides: Iterable[str]) -> None:
    """What cannot be composed, and what Hydra would say of it in words of its own.

    Args:
        command: as for `check_fields`.
        overrides: of the command line.

    Raises:
        UserError: an override has no key, chooses for a group what is no name, or deletes what the command needs.
    """
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    fields = {**_COMMON, **_FIELDS[command]}
    for override in filter(None, map(parse, overrides)):
        key, value = override.key_or_group, override.value()
        if not key:
            raise UserError(f"{shown(override.input_line)} has no key; write key=value")
        if override.type == OverrideType.DEL:
            if fields.get(key, _OPTIONAL) not in (_OPTIONAL, _NAMED):
                raise UserError(f"{key} is needed; leave ~{key} out of the command")
        elif key in groups and not override.is_sweep_override():
            names = value if isinstance(value, list) else [value]
            if not all(isinstance(name, str) and name for name in names):
                raise UserError(f"{key}={_said(value)} is no choice of the group {key}; choose one, as {_example(key)}")


def refuse_doubles(overrides: Iterable[str]) -> None:
    """Refuses two choices of a group that takes one: Hydra would lay one over the other.

    Args:
        overrides: of one job, as Hydra has them.

    Raises:
        UserError: names the group.
    """
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    several = {key for fields in _FIELDS.values() for key, hint in fields.items() if hint == _NAMED}
    for text in overrides:
        override = parse(text)
        if override is None:  # which Hydra itself has to say
            continue
        group, value = override.key_or_group, override.value()
        if group in groups - several and isinstance(value, list):
            names = ", ".join(map(shown, value))
            raise UserError(
                f"{group}=[{names}] names {len(value)} choices, and {group} takes one; write {group}="
                f"{shown(value[0]) if value else '...'}, or {group}={names.replace(' ', '')} with -m to try each"
            )
