"""Turns a config into objects, and is the only place that does.

A node with a ``_target_`` becomes that class, called with the node's other keys as keyword arguments. Constructor
signatures are the schema: an unknown key or a value of another type is refused before anything is built. What only
exists at run time (the data's spec, the metrics) reaches a constructor by the name of its argument.
"""

from __future__ import annotations

import functools
import inspect
import pkgutil
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from adversaria.config.admission import Kind, Place, Trust, kinds_of, place_at
from adversaria.config.blame import blamed
from adversaria.config.plain import conf_dir, near
from adversaria.config.schema import refuse_misfit, signature
from adversaria.core.errors import UserError

_SPECIAL = {"_target_", "_partial_"}
#: ``*args`` and ``**keywords``, whose own names are no keywords
_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check(node: Any, path: str, trust: Sequence[str] | Trust = (), place: Place | None = None) -> None:
    """Walks a config, building nothing: every target must be allowed, every key known and every value of its type.

    Args:
        node: plain containers.
        path: of the node; what may stand there is looked up in `adversaria.config.admission.PLACES`.
        trust: packages of the user's own, or these together with the names that a file brought.
        place: what may stand there, if not what `PLACES` says.

    Raises:
        UserError: names the key, and near matches of a mistyped one.
    """
    place = place or place_at(path)
    if place.kinds and isinstance(node, dict):
        entries = node.items() if place.named else [("", node)] if node else []
        for name, entry in entries:
            if not isinstance(entry, dict) or "_target_" not in entry:
                key = f"{path}.{name}" if name else path
                raise UserError(
                    f"{key} has no _target_ and is therefore not {place.kinds[0].words}; leave it out, or give it one"
                )
    _check(node, path, place.kinds, place.injected, as_trust(trust))


def as_trust(trust: Sequence[str] | Trust) -> Trust:
    """Packages of the user's own as `Trust` in a config that no file brought."""
    return trust if isinstance(trust, Trust) else Trust(trust)


def _check(node: Any, path: str, kinds: Sequence[Kind], injected: Collection[str], trust: Trust) -> None:
    if isinstance(node, list):
        for k, item in enumerate(node):
            _check(item, f"{path}[{k}]", kinds, injected, trust)
    if not isinstance(node, dict):
        return
    if "_target_" not in node:
        for key, value in node.items():
            _check(value, f"{path}.{key}", kinds, injected, trust)
        return
    target = trust.find(node["_target_"], path, kinds, partial=bool(node.get("_partial_")))
    parameters, hints = signature(target)
    free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    parameters = {n: p for n, p in parameters.items() if p.kind not in _COLLECTING}
    for key, value in node.items():
        if key in _SPECIAL:
            continue
        if key in injected:
            raise UserError(f"{path}.{key} is given by the run itself; leave it out")
        if (key not in parameters and not free) or key.startswith("_"):
            raise UserError(f"{path}.{key} is unknown to {node['_target_']}{near(key, parameters)}")
        hint = hints.get(key, Any) if key in parameters else Any
        refuse_misfit(value, hint, f"{path}.{key}")
        _check(value, f"{path}.{key}", kinds_of(hint, target, f"{path}.{key}"), injected, trust)


def construct(node: Any, path: str, trust: Sequence[str] | Trust = (), /, **injected: Any) -> Any:
    """Builds ``node`` and what is nested in it, after `check` has looked at all of it.

    Args:
        node: plain containers; a mapping with ``_target_`` becomes an object (with ``_partial_: true`` a
            `functools.partial`).
        path: of the node.
        trust: see `check`.
        injected: run-time objects for every constructor below that has an argument of that name.

    Raises:
        UserError: as `check`; a needed argument is missing, or the component refuses its values.
    """
    check(node, path, trust)
    return _construct(node, path, injected)


def _construct(node: Any, path: str, injected: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_construct(item, f"{path}[{k}]", injected) for k, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    built = {key: _construct(value, f"{path}.{key}", injected) for key, value in node.items() if key not in _SPECIAL}
    if "_target_" not in node:
        return built
    target = pkgutil.resolve_name(node["_target_"])
    if node.get("_partial_"):
        return functools.partial(target, **built)
    parameters, _ = signature(target)
    arguments = {**built, **{name: value for name, value in injected.items() if name in parameters}}
    for name, parameter in parameters.items():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind in (
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        if needed and arguments.get(name, inspect.Parameter.empty) is inspect.Parameter.empty:
            key = name if (conf_dir() / name).is_dir() and "." not in path else f"{path}.{name}"
            raise UserError(f"{path} needs {name}; give it with {key}=... on the command line")
    with blamed(path, node, node["_target_"].rpartition(".")[2]):
        return target(**arguments)
