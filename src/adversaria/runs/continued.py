"""How a run goes on: from the config that it was started with, and what a command line changes of it.

Neither today's defaults nor what a name of ``conf/`` means today has a say: the stored config is Hydra's primary config
here, with every group beside it for the command line to choose from.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf

from adversaria.config import overrides as choices
from adversaria.config.aliases import current_name, typed_today
from adversaria.config.plain import Plain, conf_dir
from adversaria.core.errors import UserError
from adversaria.core.files import read_text, write_text
from adversaria.core.text import shown
from adversaria.runs.folder import MAY_CHANGE, Run

_PACKAGE = re.compile(r"#\s*@package\s+(\S+)")


@contextlib.contextmanager
def continued(run: Run, given: Sequence[str]) -> Iterator[tuple[list[str], Path]]:
    """What Hydra is to compose for a run that is there.

    Args:
        run: whose folder holds a config.
        given: the overrides of the command line.

    Yields:
        The overrides that change something, and the folder of the primary config ``train``, which goes with the block.

    Raises:
        UserError: the stored config or the stored overrides are damaged, or name a path that another machine has
            written and the command line does not.
    """
    stored, given = run.stored_config() or {}, [typed_today(line) for line in given]
    choices.brought_back(run.overrides, given)  # refuses what no run has written
    lines = run.stored_overrides()
    _refuse_other_names(run, lines, stored)
    choices.refuse_foreign_places(stored, run.config, run.overrides, given)
    now = _parsed(given)
    said, again = _last(_parsed(lines)), _last(now)
    # what the run's overrides say already is in its config; of several choices the last one counts
    repeated = {key for key, value in again.items() if key in said and said[key] == value}
    new = [line for line, o in now if o is None or o.get_key_element() not in repeated]
    with tempfile.TemporaryDirectory(prefix="adversaria-") as folder:
        write_text(Path(folder) / "train.yaml", OmegaConf.to_yaml(OmegaConf.create(_primary(stored, new))))
        yield [_forced(line) for line in new], Path(folder)


def all_overrides(run: Run, given: Sequence[str]) -> list[str]:
    """The overrides of a run and of its continuations, in their order; a choice that is made again counts last."""
    now = _parsed(given)
    again = {(o.get_key_element(), str(o.value())) for _, o in now if o}
    kept = [
        line
        for line, o in _parsed(run.stored_overrides())
        if o is None or (o.get_key_element(), str(o.value())) not in again
    ]
    return [*kept, *(line for line, _ in now)]


def _refuse_other_names(run: Run, lines: Iterable[str], config: Plain) -> None:
    """Raises UserError if a stored override names an object that the stored config does not have: one was changed."""
    known = set(_targets(config))
    for number, line in enumerate(lines, 1):
        if (override := choices.parse(line)) is None:
            continue
        *_, last = override.key_or_group.split(".")
        for name in _targets({last: override.value()}):
            if current_name(name) not in known:
                raise UserError(
                    f"{shown(run.overrides)}, line {number}: {shown(line, 80)} is nothing that a config may name here, "
                    f"for {shown(run.config)} does not have it; remove the line"
                )


def _targets(node: Any) -> Iterator[str]:
    """Every name under ``_target_``."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_":
                yield str(value)
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _primary(stored: Plain, given: Sequence[str]) -> Plain:
    """Hydra's primary config: the stored one, and each group without a choice."""
    train = yaml.safe_load(read_text(conf_dir() / "train.yaml"))
    groups = [entry for entry in train.pop("defaults") if isinstance(entry, dict) and not _optional(entry)]
    defaults = [entry if "hydra" in entry else dict.fromkeys(entry) for entry in groups]
    config = {key: _literal(value) for key, value in stored.items() if choices.of_a_run(key)}
    for line in given:
        _make_room(config, choices.parse(line))
    return {
        "defaults": ["_self_", *defaults],
        "hydra": {"searchpath": [f"file://{conf_dir()}"]},
        **train,
        **config,
    }


def _optional(entry: Plain) -> bool:
    return any(name.startswith("optional ") for name in entry)


def _make_room(config: Plain, override: Override | None) -> None:
    """Takes out of ``config`` what a group's new choice replaces, where a continuation may choose anew."""
    if override is None or override.type != OverrideType.CHANGE:
        return
    value = override.value()
    for name in value if isinstance(value, list) else [value]:
        file = conf_dir() / override.key_or_group / f"{name}.yaml"
        if not file.is_file():
            continue
        header = _PACKAGE.match(read_text(file))
        package = header[1] if header else override.key_or_group.replace("/", ".")
        for place in MAY_CHANGE:
            if f"{package}.".startswith(f"{place.rstrip('.')}."):
                *above, last = place.rstrip(".").split(".")
                node: Any = config
                for part in above:
                    node = node.get(part, {})
                node.pop(last, None)


def _parsed(lines: Iterable[str]) -> list[tuple[str, Override | None]]:
    """The lines as they are written today, each with its override; None for what is none."""
    return [(line, choices.parse(line)) for line in map(typed_today, lines)]


def _last(parsed: Iterable[tuple[str, Override | None]]) -> Plain:
    """What is chosen for each key, in the spelling that tells changes, additions and deletions apart."""
    return {o.get_key_element(): o.value() for _, o in parsed if o is not None}


def _forced(line: str) -> str:
    """An addition is a change where the stored config has the key."""
    override = choices.parse(line)
    adds_key = override is not None and override.type == OverrideType.ADD and "." in override.key_or_group
    return f"+{line}" if adds_key else line


def _literal(value: Any) -> Any:
    """``value`` with texts that OmegaConf gives back as they are: what is stored is resolved, and refers to nothing."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", value) if isinstance(value, str) else value
