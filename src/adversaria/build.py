"""Turns a config into objects, and is the only place that does.

A node with a ``_target_`` becomes that class, called with the node's other keys as keyword arguments. Constructor
signatures are the schema: an unknown key or a value of another type is refused before anything is built. What only
exists at run time (the data's spec, the metrics) reaches a constructor by the name of its argument.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Union

from adversaria.config import Plain, near
from adversaria.errors import UserError

if TYPE_CHECKING:
    from adversaria.stepping import SteppedModule
    from adversaria.types import DataSpec

_SPECIAL = {"_target_", "_partial_"}
#: What a config may name. A prefix alone is no boundary (``torch.hub.load`` runs foreign code): see `find_target`.
ALLOWED = (
    *(f"adversaria.{name}." for name in ("models", "layers", "losses", "penalties", "augment", "data", "metrics")),
    *(f"adversaria.{name}." for name in ("callbacks", "diagnosis", "loggers", "optim", "schedules", "gan", "vae")),
    "torch.nn.",
    "torch.optim.",
    "torchvision.transforms.",
    "lightning.pytorch.callbacks.",
    "lightning.pytorch.loggers.",
    "lightning.pytorch.strategies.",
    "lightning.pytorch.Trainer",
    "lightning.pytorch.trainer.trainer.Trainer",
    "adversaria.auto.",
)


def find_target(name: str, path: str, trust: Sequence[str] = ()) -> Callable[..., Any]:
    """The class, or the function of this package, that ``_target_: name`` at ``path`` of a config stands for.

    Its own module must be allowed as well, so that ``torch.nn.modules.module.torch.load`` leads nowhere.

    Args:
        name: the dotted name.
        path: of the node, for messages.
        trust: further packages whose code may be named; from the command line only.

    Raises:
        UserError: the name is not allowed, does not exist, or is neither class nor function.
    """
    from hydra.utils import get_object

    allowed = (*ALLOWED, *(f"{package}." for package in trust))
    refusal = (
        f"{path}._target_={name} is not a class that a config may name; if it is your own code, add"
        f" trust=[{str(name).split('.')[0]}] to the command"
    )
    if not isinstance(name, str) or not name.startswith(allowed):
        raise UserError(refusal)
    try:
        target = get_object(name)
    except Exception as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"{path}._target_={name} cannot be imported ({reason}); correct the name") from error
    home = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"
    own = home.startswith(("adversaria.", *(f"{package}." for package in trust)))
    if not home.startswith(allowed) or not (inspect.isclass(target) or (own and inspect.isfunction(target))):
        raise UserError(refusal)
    return target


def check(node: Any, path: str, trust: Sequence[str] = ()) -> None:
    """Walks a config, building nothing: every target must be allowed, every key known and every value of its type.

    Raises:
        UserError: names the key, and near matches of a mistyped one.
    """
    if isinstance(node, list):
        for k, item in enumerate(node):
            check(item, f"{path}[{k}]", trust)
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        target = find_target(node["_target_"], path, trust)
        parameters, hints = _signature(target)
        free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        for key, value in node.items():
            if key in _SPECIAL:
                continue
            if key not in parameters and not free:
                raise UserError(f"{path}.{key} is unknown to {node['_target_']}{near(key, parameters)}")
            if not _fits(value, hints.get(key, Any)):
                raise UserError(f"{path}.{key}={value} is not {_describe(hints[key])}")
    for key, value in node.items():
        check(value, f"{path}.{key}", trust)


def construct(node: Any, path: str, trust: Sequence[str] = (), /, **parts: Any) -> Any:
    """Builds ``node`` and what is nested in it.

    Args:
        node: plain containers; a mapping with ``_target_`` becomes an object (with ``_partial_: true`` a
            `functools.partial`).
        path: of the node, for messages.
        trust: see `find_target`.
        parts: run-time objects for every constructor below that has an argument of that name.

    Raises:
        UserError: a needed argument is missing, or the component refuses its values.
    """
    if isinstance(node, list):
        return [construct(item, f"{path}[{k}]", trust, **parts) for k, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    built = {
        key: construct(value, f"{path}.{key}", trust, **parts) for key, value in node.items() if key not in _SPECIAL
    }
    if "_target_" not in node:
        return built
    target = find_target(node["_target_"], path, trust)
    if node.get("_partial_"):
        return functools.partial(target, **built)
    parameters, _ = _signature(target)
    arguments = {**{name: part for name, part in parts.items() if name in parameters}, **built}
    for name, parameter in parameters.items():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind in (
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        if needed and arguments.get(name, inspect.Parameter.empty) is inspect.Parameter.empty:
            raise UserError(f"{path} needs {name}; choose one, for example with {name}=... on the command line")
    return target(**arguments)


def build_system(config: Plain, spec: DataSpec, trust: Sequence[str] = ()) -> SteppedModule:
    """The system under ``model`` with its networks, objective and optimizers.

    Raises:
        UserError: an objective was chosen that the system has no place for, or something refuses its values.
    """
    from adversaria.layers.spectral_norm import iterate_together  # torch, which checks of a config do not need

    target = find_target(config["model"].get("_target_", ""), "model", trust)
    parameters, _ = _signature(target)
    parts: dict[str, Any] = {"spec": spec, "seed": config["seed"]}
    for name in ("loss", "penalty", "augment", "optim"):
        if name not in parameters and config.get(name):
            raise UserError(f"{target.__name__} takes no {name}; leave out {name}=...")
        if config.get(name) or name == "penalty":
            parts[name] = construct(config.get(name) or {}, name, trust, spec=spec)
    system: SteppedModule = construct(config["model"], "model", trust, **parts)
    for name in system.network_names:
        iterate_together(getattr(system, name))
    return system


def _signature(target: Callable[..., Any]) -> tuple[Mapping[str, inspect.Parameter], dict[str, Any]]:
    """Parameters by name without ``self``, and what types they are annotated with, as far as that can be known."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        parameters = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return {}, {}
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a forward reference that only type checkers can follow
        hints = {}
    return parameters, hints


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value may stand where ``hint`` is annotated; what is not plain data fits everything."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, dict) and "_target_" in value:
        return hint not in (int, float, bool, str)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, type(None) if hint is None else hint)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        items = arguments[:1] if arguments else (Any,)
        return isinstance(value, list) and all(_fits(item, items[0]) for item in value)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, dict)
    # Any is a class since Python 3.11
    return isinstance(value, hint) if inspect.isclass(hint) and hint is not Any and origin is None else True


def _describe(hint: Any) -> str:
    """A type annotation in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return "a list"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
