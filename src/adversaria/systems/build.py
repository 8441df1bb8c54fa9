"""The system of a config."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

from adversaria.config.admission import PLACES, Trust
from adversaria.config.aliases import RENAMED
from adversaria.config.blame import largest_sizes
from adversaria.config.build import as_trust, construct
from adversaria.config.plain import Plain, flatten
from adversaria.config.schema import signature
from adversaria.core.errors import UserError
from adversaria.core.machine import memory_limit
from adversaria.core.types import DataSpec
from adversaria.nn.layers.spectral_norm import iterate_together
from adversaria.systems.base import SteppedModule

#: sizes below it make no network that a machine of today cannot hold
_LARGE = 8192


def build_system(config: Plain, spec: DataSpec, trust: Sequence[str] | Trust = ()) -> SteppedModule:
    """The system under ``model`` with its networks, objective and optimizers.

    Raises:
        UserError: an objective was chosen that the system has no place for, or something refuses its values.
    """
    target = as_trust(trust).find(config["model"].get("_target_", ""), "model", PLACES["model"].kinds)
    parameters, _ = signature(target)
    _refuse_old_arguments(target, parameters)
    model = dict(config["model"])
    injected: dict[str, Any] = {"seed": config["seed"]}
    if "pairing" in parameters and model.get("pairing"):
        # Networks must know what they are given, so that it is made before them.
        injected["pairing"] = pairing = construct(model.pop("pairing"), "model.pairing", trust)
        spec = pairing.paired(spec)
    injected["spec"] = spec
    for name in ("loss", "regulariser", "augment", "optim"):
        if name not in parameters and config.get(name):
            raise UserError(f"{target.__name__} takes no {name}; leave out {name}=...")
        if config.get(name) or name == "regulariser":
            injected[name] = construct(config.get(name) or {}, name, trust, spec=spec)
    _refuse_beyond_memory(config, target, spec, trust)
    system: SteppedModule = construct(model, "model", trust, **injected)
    for network in system.networks.values():
        iterate_together(network)
    return system


def _refuse_old_arguments(target: Callable[..., Any], parameters: Collection[str]) -> None:
    """Raises UserError if a system of a user's own takes a group by the name that it had in an earlier version."""
    for old, new in RENAMED.items():
        if old in parameters and new not in parameters:
            raise UserError(f"{target.__name__} takes {old}, which is called {new} now; rename the argument")


def _refuse_beyond_memory(config: Plain, system: Any, spec: DataSpec, trust: Sequence[str] | Trust) -> None:
    """Raises UserError if the networks cannot be trained in this machine's memory, before it is taken.

    Linux grants more than there is, and ends whoever uses it. A network is made on a device without memory; one that
    cannot be (a user's own may compute with what it makes) is left to its real making.
    """

    needed = 0
    if not any(isinstance(value, int) and value >= _LARGE for value in flatten(config["model"]).values()):
        return
    for name in system.network_names:
        with contextlib.suppress(Exception), torch.device("meta"):
            network = construct(config["model"].get(name), f"model.{name}", trust, spec=spec)
            # weights, their gradients and two moments of an optimizer
            needed += 4 * sum(parameter.nbytes for parameter in network.parameters())
    if needed > (limit := memory_limit()):
        raise UserError(
            f"there is not enough memory for networks that take {needed / 2**30:,.0f} GiB with gradients and moments, "
            f"on a machine of {limit / 2**30:,.0f} GiB: {largest_sizes(config['model'], 'model')} may be too large"
        )
