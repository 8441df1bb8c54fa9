"""Constructor signatures as the schema of a config: which values an argument takes, and how that is said."""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union

from adversaria.core.errors import UserError
from adversaria.core.ranges import (
    LARGEST_INT,
    AtLeast,
    Betas,
    Between,
    Count,
    Decay,
    Distinct,
    Length,
    NonNegative,
    Range,
    Rate,
    Share,
)
from adversaria.core.text import typed

_DEVICES = Annotated[Sequence[Annotated[int, Between(0, 4095)]], Length(1, 4096), Distinct()]
_LIMIT = Annotated[int, AtLeast(0)] | Share | None

#: what arguments of libraries' classes take, which annotate less, by the package and the argument
FOREIGN: Mapping[tuple[str, str], Any] = {
    ("torch.optim", "lr"): Rate,
    ("torch.optim", "betas"): Betas,
    ("torch.optim", "eps"): NonNegative,
    ("torch.optim", "weight_decay"): NonNegative,
    ("torch.optim", "momentum"): Decay,
    ("torch.optim", "dampening"): Share,
    ("torch.optim", "alpha"): Decay,
    ("torch.optim", "rho"): Decay,
    ("torch.optim", "lr_decay"): NonNegative,
    ("torch.optim", "initial_accumulator_value"): NonNegative,
    ("torch.optim", "momentum_decay"): NonNegative,
    ("torch.optim", "lambd"): NonNegative,
    ("torch.optim", "t0"): NonNegative,
    ("torch.optim", "max_iter"): Count,
    ("torch.optim", "history_size"): Count,
    ("lightning.pytorch.trainer", "accelerator"): Literal["auto", "cpu", "gpu", "cuda", "mps"],
    ("lightning.pytorch.trainer", "devices"): Annotated[int, Between(1, 4096)] | _DEVICES,
    ("lightning.pytorch.trainer", "num_nodes"): Annotated[int, Between(1, 2**16)],
    ("lightning.pytorch.trainer", "max_steps"): Count,
    ("lightning.pytorch.trainer", "min_steps"): Count | None,
    ("lightning.pytorch.trainer", "min_epochs"): Count | None,
    ("lightning.pytorch.trainer", "precision"): Literal["32-true", "bf16-mixed", "16-mixed", "64-true"],
    ("lightning.pytorch.trainer", "strategy"): Literal["auto", "stepwise_ddp", "ddp_find_unused_parameters_true"]
    | object,
    ("lightning.pytorch.trainer", "model_registry"): None,
    ("lightning.pytorch.trainer", "log_every_n_steps"): Count,
    ("lightning.pytorch.trainer", "limit_train_batches"): _LIMIT,
    ("lightning.pytorch.trainer", "limit_test_batches"): _LIMIT,
    ("lightning.pytorch.trainer", "limit_predict_batches"): _LIMIT,
    ("lightning.pytorch.trainer", "overfit_batches"): _LIMIT,
    ("lightning.pytorch.trainer", "reload_dataloaders_every_n_epochs"): Literal[0],
    ("lightning.pytorch.trainer", "accumulate_grad_batches"): Literal[1],  # optim.accumulate is ours
    ("lightning.pytorch.trainer", "gradient_clip_val"): None,  # optim.clip_norm is ours
    ("lightning.pytorch.trainer", "fast_dev_run"): Literal[False],
}


@functools.cache
def signature(target: Callable[..., Any]) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Parameters by name without ``self``, and what they are annotated with, as far as that can be known."""
    # The annotations of a dataclass's inherited fields are names of the modules that declare them, not of its own.
    declared = inspect.isclass(target) and "__dataclass_fields__" in vars(target)
    function = target.__init__ if inspect.isclass(target) and not declared else target
    try:
        parameters = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return {}, {}
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # a forward reference that only type checkers can follow
        hints = {}
    home = str(target.__module__)
    known = {name: hint for (package, name), hint in FOREIGN.items() if home.startswith(f"{package}.")}
    hints = {**hints, **{name: hint for name, hint in known.items() if name in parameters}}
    if inspect.isclass(target) and any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        # ``**keywords`` go to the class that it is derived from, and are what that one takes
        base = next((c for c in target.__mro__[1:] if "__init__" in vars(c) and c is not object), None)
        inherited = ({}, {}) if base is None else signature(base)
        optional = {name: p.replace(default=None) for name, p in inherited[0].items()}  # the class may give it itself
        return {**optional, **parameters}, {**inherited[1], **hints}
    return parameters, hints


def refuse_misfit(value: Any, hint: Any, path: str) -> None:
    """Raises UserError unless a plain value may stand where ``hint`` is annotated.

    Of a value with a ``_target_`` only the ends of a ramp are looked at: what the object may be is another question.
    """
    for where, misfit in _misfits(value, hint, path):
        raise UserError(f"{where}={typed(misfit)} is not {describe(hint)}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value may stand where ``hint`` is annotated."""
    return next(_misfits(value, hint, ""), None) is None


def _misfits(value: Any, hint: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What does not fit and where: an end of a ramp, or the value as a whole."""
    if not _is_of_type(value, hint):
        yield path, value
    elif typing.get_origin(hint) is Annotated:
        for part in (part for part in hint.__metadata__ if isinstance(part, Range)):
            if isinstance(value, dict) and "_target_" in value:
                ends = {end: value[end] for end in ("start", "end") if end in value}
                yield from ((f"{path}.{end}", v) for end, v in ends.items() if _is_number(v) and not part.admits(v))
            elif value is not None and not part.admits(value):
                yield path, value
    elif typing.get_origin(hint) in (Union, types.UnionType) and isinstance(value, dict):
        for member in typing.get_args(hint):
            yield from _misfits(value, member, path) if _is_of_type(value, member) else ()


def _is_of_type(value: Any, hint: Any) -> bool:
    """The same without ranges at the top; what is not plain data fits everything."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _is_of_type(value, arguments[0])
    if isinstance(value, dict) and "_target_" in value:
        return _takes_object(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if hint is float:
        return _is_number(value) and math.isfinite(value) and not (isinstance(value, int) and abs(value) > LARGEST_INT)
    if hint is int:
        return _is_number(value) and isinstance(value, int) and abs(value) <= LARGEST_INT
    if hint in (bool, str, type(None), None):
        return isinstance(value, type(None) if hint is None else hint)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return isinstance(value, list) and _entries_fit(value, origin, arguments)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(fits(item, arguments[1]) for item in value.values())
    # An object is written with a _target_; what is annotated with nothing, or with Any, takes all.
    return hint in (Any, inspect.Parameter.empty) or (hint in (dict, list) and isinstance(value, hint))


def _takes_object(hint: Any) -> bool:
    """Whether what a node with a ``_target_`` makes may stand there at all."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType, Annotated):
        return any(_takes_object(argument) for argument in typing.get_args(hint)[: 1 if origin is Annotated else None])
    container = inspect.isclass(origin) and issubclass(origin, Sequence | Mapping)
    return not container and hint not in _WORDS and origin is not Literal


def _entries_fit(entries: list[Any], origin: type, arguments: tuple[Any, ...]) -> bool:
    if issubclass(origin, tuple) and arguments and arguments[-1] is not Ellipsis:
        return len(entries) == len(arguments) and all(map(fits, entries, arguments))
    return all(fits(entry, arguments[0] if arguments else Any) for entry in entries)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    list: "a list",
    type(None): "null",
    None: "null",
}


def describe(hint: Any, ranges: str = "") -> str:
    """A type annotation in words, as they follow "is not".

    Args:
        hint: the annotation.
        ranges: of an annotation around it, which say something of its numbers.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        own = [part.words() for part in hint.__metadata__ if isinstance(part, Range)]
        return describe(arguments[0], "".join(f" {words}" for words in own))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(a, ranges if a in (int, float) else "") for a in arguments))
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f"a list{ranges}" + (f", each {describe(arguments[0])}" if arguments else "")
    return f"{_noun(hint, origin, arguments)}{ranges}"


def _noun(hint: Any, origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin is Literal:
        return f"one of {', '.join(map(typed, arguments))}"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a mapping"
    if hint in _WORDS:
        return _WORDS[hint]
    return "a ramp" if arguments and arguments[-1] is float else "an object with a _target_"
