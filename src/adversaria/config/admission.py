"""What a config may name, and where.

Membership is by home: in a place stands what is *defined* in the rooms of that place's kind, is public, and is what the
place asks for. A package that is trusted on the command line is one more room of every kind. What a file names (a
checkpoint, the stored overrides of a run) is held to less: Lightning's callbacks, loggers and strategies write where
their arguments say, so a file names none of them, nor what a trusted package has of these kinds.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Union

from adversaria.config.aliases import current_name
from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError
from adversaria.core.text import shown


@dataclass(frozen=True)
class Kind:
    """What may stand in a place of a config.

    Attributes:
        words: what it is, for messages.
        base: dotted name of the class that it derives from, or of the protocol whose methods it has.
        rooms: packages and modules in which it may be defined.
        foreign: further rooms, of libraries; not for what a file names.
        own: whether a trusted package supplies it also where a file names it.
        functions: whether functions are of this kind, and not classes alone.
        factory: whether the place takes what makes the object (``_partial_: true``) and not the object.
    """

    words: str
    base: str
    rooms: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    own: bool = False
    functions: bool = False
    factory: bool = False


#: layers whose constructors neither loop nor read anything
_TORCH_LAYERS = tuple(
    f"torch.nn.modules.{name}"
    for name in ("activation", "batchnorm", "conv", "dropout", "flatten", "instancenorm", "linear", "normalization")
) + tuple(f"torch.nn.modules.{name}" for name in ("padding", "pixelshuffle", "pooling", "upsampling"))
_NETWORKS = ("adversaria.nn.networks", "adversaria.nn.wrappers", *_TORCH_LAYERS)

_NETWORK = Kind("a network", "torch.nn.Module", _NETWORKS, ("torch.nn.modules",), own=True)
_OPTIMIZER = Kind("an optimizer", "torch.optim.Optimizer", ("torch.optim", "adversaria.systems.optim"))
_DETECTOR = Kind("a detector", "adversaria.health.Detector", ("adversaria.health",))
_SCHEDULE = Kind("a schedule", "adversaria.systems.optim.Schedule", ("adversaria.systems.optim",))
_RAMP = Kind("a ramp", "collections.abc.Callable", ("adversaria.core.schedules",), own=True)
_LATENT = Kind("a distribution of latents", "adversaria.nn.latents.Latent", ("adversaria.nn.latents",), own=True)
_PAIRING = Kind("a pairing", "adversaria.systems.pairing.Pairing", ("adversaria.systems.pairing",), own=True)
_MODALITY = Kind("a modality", "adversaria.core.modality.Modality", ("adversaria.modalities",), own=True)
_STRATEGY = Kind(
    "a strategy",
    "lightning.pytorch.strategies.Strategy",
    ("adversaria.systems.parallel",),
    ("lightning.pytorch.strategies",),
)

#: what arguments of constructors take, by their annotations; no other annotation admits an object
NESTED = (
    _NETWORK,
    _OPTIMIZER,
    _DETECTOR,
    _SCHEDULE,
    _RAMP,
    _LATENT,
    _PAIRING,
    _MODALITY,
    *(
        Kind(words, f"{room}.{name}", (room,), own=True, functions=True)
        for room in ("adversaria.objectives.losses",)
        for words, name in (("a loss of D", "DiscriminatorLoss"), ("a loss of G", "GeneratorLoss"))
    ),
    Kind("an extractor", "adversaria.features.extractor.Extractor", ("adversaria.features",), own=True),
    Kind("centres of modes", "torch.Tensor", ("adversaria.data.synthetic.points",), functions=True),
)


@dataclass(frozen=True)
class Place:
    """A place at the top of a config.

    Attributes:
        kinds: what may stand there, or under each name there.
        injected: arguments that the run itself gives to what is built there, wherever they are asked for.
        named: whether several may stand there, each under a name.
    """

    kinds: tuple[Kind, ...] = ()
    injected: frozenset[str] = frozenset()
    named: bool = False


def _place(
    words: str, base: str | Sequence[str], rooms: Sequence[str], injected: str = "", named: bool = False, **more: Any
) -> Place:
    bases = [base] if isinstance(base, str) else base
    return Place(tuple(Kind(words, name, tuple(rooms), **more) for name in bases), frozenset(injected.split()), named)


PLACES: Mapping[str, Place] = {
    "model": _place(
        "a system",
        "adversaria.systems.base.SteppedModule",
        ["adversaria.systems"],
        "spec seed loss regulariser augment optim",
        own=True,
    ),
    "model.latent": Place((_LATENT,)),
    "model.pairing": Place((_PAIRING,)),
    "loss": _place(
        "a loss", "adversaria.objectives.losses.AdversarialLoss", ["adversaria.objectives.losses"], "spec", own=True
    ),
    "regulariser": _place(
        "a term, constraint or reparametrisation",
        [f"adversaria.core.types.{name}" for name in ("Term", "Constraint", "Reparametrisation")],
        [
            "adversaria.objectives.terms",
            "adversaria.objectives.constraints",
            "adversaria.objectives.reparametrisations",
        ],
        "spec",
        named=True,
        own=True,
    ),
    "augment": _place("an augmentation", "torch.nn.Module", ["adversaria.objectives.augment"], "spec", own=True),
    "optim": _place("settings of optimizers", "adversaria.systems.optim.Optim", ["adversaria.systems.optim"], "spec"),
    "optim.schedule": Place((_SCHEDULE,)),
    "spec.modality": Place((_MODALITY,)),  # of a checkpoint
    "data": _place("a data set", "adversaria.data.module.DataModule", ["adversaria.data"], own=True),
    "metrics": _place(
        "metrics", "adversaria.evaluation.protocol.Metrics", ["adversaria.evaluation.metrics"], "spec", True, own=True
    ),
    "memorisation": _place(
        "a measure of memorisation",
        "adversaria.evaluation.memorisation.Memorisation",
        ["adversaria.evaluation.memorisation"],
    ),
    "usefulness": _place(
        "a measure of usefulness", "adversaria.evaluation.usefulness.Usefulness", ["adversaria.evaluation.usefulness"]
    ),
    "auto": _place("automatic settings", "adversaria.recipes.Auto", ["adversaria.recipes"]),
    "callbacks": _place(
        "a callback",
        "lightning.pytorch.callbacks.Callback",
        ["adversaria.training.callbacks"],
        "metrics config trust",
        named=True,
        foreign=("lightning.pytorch.callbacks",),
    ),
    "callbacks.health.detectors": Place((_DETECTOR,), named=True),
    "logger": _place(
        "a logger",
        "lightning.pytorch.loggers.Logger",
        ["adversaria.training.loggers"],
        "run_dir save_dir resume_step",
        named=True,
        foreign=("lightning.pytorch.loggers",),
    ),
    "trainer": _place(
        "Lightning's Trainer",
        "lightning.pytorch.Trainer",
        ["lightning.pytorch.trainer.trainer"],
        "callbacks logger profiler plugins default_root_dir max_epochs check_val_every_n_epoch val_check_interval"
        " limit_val_batches num_sanity_val_steps use_distributed_sampler enable_checkpointing enable_progress_bar"
        " enable_model_summary",
    ),
}


def place_at(path: str) -> Place:
    """The place at ``path``, or one that takes plain values alone; below ``model`` stand networks."""
    if path in PLACES:
        return PLACES[path]
    return Place((_NETWORK,), frozenset({"spec"})) if path.startswith("model.") else Place()


class _Everything(Collection[str]):
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


#: for `Trust.stored`: a config that comes out of a file as a whole
EVERYTHING = _Everything()


class AllBut(_Everything):
    """For `Trust.stored`: every name but those of this machine.

    Args:
        names: what this machine's own configs and this command line name.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def __contains__(self, name: object) -> bool:
        return name not in self._names


def brought_by_run(overrides: Sequence[str]) -> Collection[str]:
    """What a run's stored overrides may have named: all but what stands in ``conf/`` or was typed now.

    Args:
        overrides: of this command line, without the stored ones.
    """
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in conf_dir().rglob("*.yaml")]
    found = re.findall(r"_target_[\"']?\s*[:=]\s*[\"']?([\w.]+)", "\n".join([*texts, *overrides]))
    return AllBut([current_name(name) for name in found])


@dataclass(frozen=True)
class Trust:
    """Whose code a config may name.

    Attributes:
        packages: the user's own, from this command line or this call; never from a file.
        stored: the names that a file brought; they are held to less.
    """

    packages: Sequence[str] = ()
    stored: Collection[str] = field(default=())

    def rooms(self, kind: Kind, name: str) -> tuple[str, ...]:
        """Where what is called ``name`` may be defined."""
        if name not in self.stored:
            return (*kind.rooms, *kind.foreign, *self.packages)
        return (*kind.rooms, *(self.packages if kind.own else ()))

    def find(self, name: Any, path: str, kinds: Sequence[Kind], *, partial: bool = False) -> Callable[..., Any]:
        """The class or function that ``_target_: name`` at ``path`` of a config stands for.

        A name leads nowhere unless what it names says itself that it is at home there, so that neither
        ``torch.nn.modules.module.torch.load`` nor what a module imports can be named.

        Args:
            name: the dotted name.
            path: of the node, for messages.
            kinds: what the place takes.
            partial: whether the node says ``_partial_: true``.

        Raises:
            UserError: the place takes no object, or not this one; or there is no such name.
        """
        where = f"{path}._target_={shown(name)}"
        if not kinds:
            raise UserError(f"{where} stands where a plain value belongs; write a number, a text or a list there")
        wanted = " or ".join(dict.fromkeys(kind.words for kind in kinds))
        refusal = f"{where} is not {wanted} that a config may name here{self._hint(name, kinds)}"
        rooms = {room for kind in kinds for room in self.rooms(kind, name)} if isinstance(name, str) else set()
        inside = any(name.startswith(f"{'.'.join(room.split('.')[:2])}.") for room in rooms)
        if not inside or not all(part.isidentifier() for part in name.split(".")):
            raise UserError(refusal)
        try:
            target = pkgutil.resolve_name(name)
        except Exception as error:  # whatever a user's own module raises while it is imported
            reason = shown(str(error).partition("\n")[0])
            raise UserError(f"{where} cannot be imported ({reason}); correct the name") from error
        if not any(_is_at_home(target, self.rooms(kind, name)) and _is_of(target, kind) for kind in kinds):
            raise UserError(refusal)
        if partial not in {_is_made_later(target, kind) for kind in kinds}:
            verb = "leave out _partial_" if partial else "add _partial_: true"
            raise UserError(f"{where}: {path} takes {wanted}{'' if partial else ', made later'}; {verb}")
        return target  # type: ignore[no-any-return]

    def _hint(self, name: Any, kinds: Sequence[Kind]) -> str:
        """What to do about a name of a package that is nobody's, or that a file must not name."""
        package = str(name).partition(".")[0]
        if package in ("adversaria", "torch", "lightning") or not package.isidentifier():
            return ""
        if package not in self.packages:
            return f"; if it is your own code, add trust=[{package}] to the command"
        if name in self.stored and not any(kind.own for kind in kinds):
            return "; a stored file cannot bring it, so give it on the command line again"
        return ""


def kinds_of(hint: Any, owner: Callable[..., Any], path: str = "") -> tuple[Kind, ...]:
    """What an argument takes whose annotation is ``hint``, or holds if it is a list or a mapping.

    Arguments of libraries' classes take plain values alone (``lr: float | Tensor`` admits no object), but for the
    Trainer's strategy.

    Args:
        hint: the annotation; ``Any`` and none at all admit nothing.
        owner: the class or function whose argument it is.
        path: of the argument in the config, which ends with its name.
    """
    home = str(owner.__module__)
    if home.partition(".")[0] in ("torch", "lightning"):
        return (_STRATEGY,) if home.startswith("lightning.pytorch.trainer.") and path.endswith(".strategy") else ()
    return _kinds(hint, home)


def _kinds(hint: Any, home: str) -> tuple[Kind, ...]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _kinds(arguments[0], home)
    if origin in (Union, types.UnionType):
        # a union with Any says nothing
        return () if Any in arguments else tuple(kind for a in arguments for kind in _kinds(a, home))
    if origin is collections.abc.Callable:
        return _kinds_of_callable(hint, arguments, home)
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Mapping | collections.abc.Sequence):
        return tuple(kind for a in arguments if a is not Ellipsis for kind in _kinds(a, home))
    if not inspect.isclass(hint) or hint is Any:
        return ()
    # A class that stands in a hint has been imported: what has not is none of them, and need not be.
    known = tuple(kind for kind in NESTED if _is_imported(kind.base) and _resolve(kind.base) is hint)
    package = hint.__module__.partition(".")[0]
    if not known and package == home.partition(".")[0] and package not in ("adversaria", "builtins"):
        # A class of a user's own, asked for by another of the same package.
        return (Kind(f"a {hint.__name__}", f"{hint.__module__}.{hint.__qualname__}", (package,), own=True),)
    return known


def _kinds_of_callable(hint: Any, arguments: tuple[Any, ...], home: str) -> tuple[Kind, ...]:
    from dataclasses import replace

    from adversaria.core.schedules import Ramp

    if hint == Ramp:
        return (_RAMP,)
    # Callable[..., Network] takes what makes a network
    made = _kinds(arguments[-1], home) if arguments else ()
    return tuple(replace(kind, factory=True) for kind in made if not kind.functions)


@functools.cache
def _resolve(name: str) -> Any:
    return pkgutil.resolve_name(name)


def _is_imported(name: str) -> bool:
    return name.rpartition(".")[0] in sys.modules


def _is_at_home(target: Any, rooms: Sequence[str]) -> bool:
    """Whether a public class or function is defined in one of ``rooms``."""
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        return False
    home, name = target.__module__ or "", target.__qualname__  # a function that torch compiles has no module
    inside = any(home == room or home.startswith(f"{room}.") for room in rooms)
    return inside and "." not in name and not any(part.startswith("_") for part in (name, *home.split(".")[1:]))


def _is_of(target: Callable[..., Any], kind: Kind) -> bool:
    """Whether a class, or what a function gives, is of ``kind``."""
    base = _resolve(kind.base)
    if inspect.isfunction(target):
        if not kind.functions:
            return False
        return _is_protocol(base) or typing.get_type_hints(target).get("return") is base
    if inspect.isabstract(target) or _is_protocol(target):
        return False
    if _is_protocol(base):
        return all(callable(_member(target, name)) for name in _methods(base))
    return issubclass(target, base)  # type: ignore[arg-type]


def _is_made_later(target: Callable[..., Any], kind: Kind) -> bool:
    """Whether the place takes what makes the object: a factory, or a function that is called while the run trains."""
    return kind.factory or (inspect.isfunction(target) and _is_protocol(_resolve(kind.base)))


def _is_protocol(target: Any) -> bool:
    return bool(vars(target).get("_is_protocol")) if inspect.isclass(target) else False


def _methods(protocol: type) -> list[str]:
    members = [name for name, value in vars(protocol).items() if inspect.isfunction(value)]
    return [name for name in members if name == "__call__" or not name.startswith("_")]


def _member(target: Any, name: str) -> Any:
    """Of the class itself: every class can be called, which says nothing of its objects."""
    return next((vars(base)[name] for base in target.__mro__ if name in vars(base)), None)
