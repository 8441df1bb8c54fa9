"""Networks out of a checkpoint: for samples that which they are taken from alone, and each only where it fits the file.

A checkpoint is a file from anywhere. Its config may name networks, distributions of latents and reparametrisations;
data, callbacks, loggers and metrics in it are not even looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adversaria.config.admission import EVERYTHING, PLACES, Kind, Place, Trust
from adversaria.config.build import check, construct
from adversaria.config.fields import known_keys
from adversaria.config.plain import Plain, near
from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.core.types import DataSpec, Reparametrisation
from adversaria.nn.layers.spectral_norm import iterate_together
from adversaria.nn.prior import Prior
from adversaria.systems.pairing import Pairing
from adversaria.systems.parts import parts_name

#: where the parts of a system may stand in its place
_STORED = Place(
    (Kind("a system", "adversaria.systems.parts.Parts", ("adversaria.systems.parts",)),), PLACES["model"].injected
)
#: bytes of buffers that a network computes by itself and no checkpoint holds, such as the taps of a filter
_LARGEST_OWN_BUFFERS = 64 * 2**20


class Restored(NamedTuple):
    """A network that samples are taken from, on the CPU, the prior of its latents, what makes its conditions (None: it
    has none, or the data has them), whose weights it has, and what finds latents of samples (None: nothing does)."""

    network: nn.Module
    prior: Prior
    pairing: Pairing | None
    weights: Literal["ema", "raw"]
    encoder: nn.Module | None


def restore_sampler(checkpoint: Mapping[str, Any], spec: DataSpec, *, raw: bool, packages: Sequence[str]) -> Restored:
    """The sampler that a checkpoint's config describes, with its weights.

    It is built on a device without memory first, and its tensors are compared with the file's: a config that asks for
    more than the file holds takes no memory.

    Args:
        checkpoint: as `read_checkpoint` gives it.
        spec: of the samples.
        raw: the trained weights also where there is an average.
        packages: of the user's own, which the config may name.

    Raises:
        UserError: the config names what no sampler is made of, or its network and the weights do not fit.
    """
    with _fitting():
        return _restored(checkpoint, spec, raw, packages)


def restore_discriminator(checkpoint: Mapping[str, Any], spec: DataSpec, packages: Sequence[str]) -> nn.Module | None:
    """The discriminator that a checkpoint's config describes, as it was trained, on the CPU.

    Args:
        checkpoint: as `read_checkpoint` gives it.
        spec: of the samples.
        packages: of the user's own, which the config may name.

    Returns:
        The network, which has no average; None for a model without one, such as a VAE.

    Raises:
        UserError: as `restore_sampler`.
    """
    config, trust, name = checkpoint["config"], Trust(packages, EVERYTHING), "discriminator"
    model = _node(config, "model")
    if not model.get(name):
        return None
    with _fitting():
        check_objective(config, packages)
        tensors = _below(checkpoint["state_dict"], name)
        return _filled(config, model[name], name, spec, trust, tensors)


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """Whatever is raised in the block becomes a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # values that are allowed one by one may be none that a network can be built with
        raise UserError(f"{_MISFIT}: {shown(error)}") from error


def _restored(checkpoint: Mapping[str, Any], spec: DataSpec, raw: bool, packages: Sequence[str]) -> Restored:
    config, trust = checkpoint["config"], Trust(packages, EVERYTHING)
    check_objective(config, packages)
    model = _node(config, "model")
    system = _system(model, trust)
    average = None if raw else checkpoint.get("ema")

    def loaded(name: str, node: Any, average: Mapping[str, Tensor] | None) -> nn.Module:
        trained = _below(checkpoint["state_dict"], name)
        return _filled(config, node, name, spec, trust, trained, trained if average is None else average)

    network = loaded(system.sampler_name, model.get(system.sampler_name), average)
    latent = construct(model["latent"], "model.latent", trust) if model.get("latent") else None
    pairing = construct(model["pairing"], "model.pairing", trust) if model.get("pairing") else None
    prior, encoder = Prior.of(network, latent), None
    if system.encoder_name is not None:  # of version 0.1 there is no average of it
        node = _made_now(model.get(system.encoder_name), latent_dim=prior.latent_dim)
        encoder = loaded(system.encoder_name, node, None if raw else checkpoint.get("ema_encoder"))
    return Restored(network, prior, pairing, "raw" if average is None else "ema", encoder)


def _filled(
    config: Plain, node: Any, name: str, spec: DataSpec, trust: Trust, *candidates: Mapping[str, Tensor]
) -> nn.Module:
    """The network of ``node`` with the last of ``candidates`` for its tensors; made only if all of them fit it."""
    with torch.device("meta"), _Unfilled():
        outline = _network(config, node, name, spec, trust)
    for tensors in candidates:
        _refuse_others(outline, tensors)
    network = _network(config, node, name, spec, trust)
    network.load_state_dict(candidates[-1])
    iterate_together(network)
    return network


def check_objective(config: Plain, packages: Sequence[str]) -> None:
    """Looks at what a checkpoint's config names of a model, building nothing.

    Args:
        config: of the checkpoint.
        packages: of the user's own, which it may name.

    Raises:
        UserError: it names something that no model is made of, or has a key that no run has.
    """
    known = known_keys("train")
    if unknown := next((key for key in config if key not in known), None):
        raise UserError(
            f"{shown(unknown)} is no key of a run's config{near(str(unknown), known)}; the checkpoint is another "
            "version's, or damaged"
        )
    trust, model = Trust(packages, EVERYTHING), _node(config, "model")
    if (parts := _parts(model, trust)) is None:
        check(model, "model", trust)
    else:
        check({**model, "_target_": f"{parts.__module__}.{parts.__qualname__}"}, "model", trust, _STORED)
    for group in ("loss", "regulariser", "augment"):
        check(_node(config, group), group, trust)


def _parts(model: Plain, trust: Trust) -> Callable[..., Any] | None:
    """What stands for the system of ``model`` and imports no Lightning; None where the system stands there itself."""
    if (name := parts_name(model.get("_target_"))) is None:
        return None
    with contextlib.suppress(UserError):  # there is none, and the system's own name will be judged
        return trust.find(name, "model", _STORED.kinds)
    return None


class _Unfilled(TorchFunctionMode):
    """Within it, tensors without memory are filled with no random numbers.

    There is nothing to fill, and PyTorch would import its compiler for it, which takes longer than all else here.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.init.normal_:  # the only one without an implementation of its own for such tensors
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _system(model: Plain, trust: Trust) -> Any:
    """What says under which keys of ``model`` the networks stand that a checkpoint is loaded for."""
    return _parts(model, trust) or trust.find(model.get("_target_"), "model", PLACES["model"].kinds)


def _made_now(node: Any, **arguments: Any) -> Any:
    """A node that is there to be called later (``_partial_: true``), with the arguments of that call."""
    if not isinstance(node, dict):
        return node
    return {**{key: value for key, value in node.items() if key != "_partial_"}, **arguments}


def of_this_machine(node: Any) -> Any:
    """A node out of a file, without its say about where this machine keeps what it computes."""
    if isinstance(node, list):
        return [of_this_machine(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: None if key == "cache_dir" else of_this_machine(value) for key, value in node.items()}


_MISFIT = "the checkpoint's weights do not fit the networks that its config names"


def _node(config: Plain, group: str) -> Plain:
    node = config.get(group) or {}
    if not isinstance(node, dict):
        raise UserError(f"{group}={shown(node)} of the checkpoint's config is no mapping; the file is damaged")
    return node


def _network(config: Plain, node: Any, name: str, spec: DataSpec, trust: Trust) -> nn.Module:
    network: nn.Module = construct(node, f"model.{name}", trust, spec=spec)
    if not isinstance(network, nn.Module):
        raise UserError(f"model.{name} of the checkpoint's config is no network; the file is damaged")
    regularisers = _node(config, "regulariser")
    for key, node in regularisers.items():
        if isinstance(node, dict) and _reparametrises(trust, node, f"regulariser.{key}"):
            part = construct({key: node}, "regulariser", trust, spec=spec)[key]
            if part.applies_to == name:
                part.reparametrise(network)
    return network


def _reparametrises(trust: Trust, node: Plain, path: str) -> bool:
    """Whether a node of ``regulariser`` changes how weights are computed; what only trains a network is passed over."""
    target = trust.find(node.get("_target_"), path, PLACES["regulariser"].kinds)
    # of a user's own class, which derives from nothing of ours
    return all(hasattr(target, name) for name in vars(Reparametrisation) if not name.startswith("_"))


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Those of one network, by its own names."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def _refuse_others(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raises UserError unless ``network``, which takes no memory, has the names and shapes of ``tensors``."""
    own = network.state_dict()
    for key in sorted(own.keys() | tensors.keys()):
        shapes = [list(there[key].shape) if key in there else "missing" for there in (own, tensors)]
        if shapes[0] != shapes[1]:
            raise UserError(f"{_MISFIT}: {shown(key)} is {shapes[0]} there and {shapes[1]} in the file")
    computed = sum(b.nbytes for n, b in network.named_buffers() if n not in own)
    if computed > _LARGEST_OWN_BUFFERS:
        raise UserError(f"{_MISFIT}: it would compute {computed >> 20} MiB of constants, more than any network needs")
