"""ajbrock/BigGAN-PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parity.record import Record
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.networks.biggan import DISCRIMINATOR_WIDTHS, LAST_SIDE, BigGANDiscriminator, BigGANGenerator

INIT = {"N02": "normal", "ortho": "orthogonal", "xavier": "xavier", "glorot": "xavier"}
#: parts of a reference's parameter name and ours
NAMES = {
    "linear": "first",
    "output_layer": "last",
    "conv_sc": "shortcut",
    "bn1": "norm1",
    "bn2": "norm2",
    "stored_mean": "running_mean",
    "stored_var": "running_var",
}
D_NAMES = {"linear": "head", "embed": "projection", "conv_sc": "shortcut"}


def networks(record: Record) -> tuple[nn.Module, nn.Module]:
    """What a config leaves out is the default of the reference's constructors."""
    config, tensors = record.config, record.tensors
    channels, size = tensors["images"].shape[1:3]
    spec = DataSpec((channels, size, size), len(tensors["d.embed.weight"]), Image())
    shared = config.get("G_shared", True)
    latent_dim = config.get("dim_z", 128)
    generator = BigGANGenerator(
        spec=spec,
        latent_dim=latent_dim,
        width=config.get("G_ch", 64),
        conditional=True,
        shared_dim=(config.get("shared_dim", 0) or latent_dim) if shared else None,
        hierarchical=config.get("hier", False),
        attention=[side for side in named_sides(config, "G") if 8 <= side <= size],
        init=INIT[config.get("G_init", "ortho")],
        norm_eps=config.get("BN_eps", 1e-5),
    )
    discriminator = BigGANDiscriminator(
        spec=spec,
        width=config.get("D_ch", 64),
        conditional=True,
        attention=discriminator_sides(named_sides(config, "D"), size),
        init=INIT[config.get("D_init", "ortho")],
        wide=config.get("D_wide", True),
    )
    return generator, discriminator


def named_sides(config: Mapping[str, Any], network: str) -> list[int]:
    return [int(side) for side in str(config.get(f"{network}_attn", "64")).split("_")]


def discriminator_sides(named: list[int], size: int) -> list[int]:
    """At 32 px the reference calls every map of D 16x16; its last three are 8x8."""
    if size == 32:
        return [16, 8] if 16 in named else []
    sides = {max(size // 2 ** (i + 1), LAST_SIDE[size]) for i in range(len(DISCRIMINATOR_WIDTHS[size]))}
    return sorted(sides & set(named))


def generator_state(state: Mapping[str, Tensor], generator: nn.Module) -> dict[str, Tensor]:
    return ours(state, NAMES)


def discriminator_state(state: Mapping[str, Tensor], discriminator: nn.Module) -> dict[str, Tensor]:
    return ours(state, D_NAMES)


def discriminator_parameter(name: str, discriminator: nn.Module) -> str:
    module, _, leaf = rename(name, D_NAMES).rpartition(".")
    return f"{module}.parametrizations.weight.original" if leaf == "weight" else f"{module}.{leaf}"


def ours(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    result = {}
    for name, value in state.items():
        module, _, leaf = name.rpartition(".")
        new, _, new_leaf = rename(name, names).rpartition(".")
        if leaf in ("stored_mean", "stored_var") and f"{module}.gain.weight" in state:
            result[f"{new}.norm.{new_leaf}"] = value  # of a conditional norm
        elif leaf == "gain":
            result[f"{new}.weight"] = value  # of a plain norm
        elif leaf == "weight" and f"{module}.u0" in state:
            u = state[f"{module}.u0"][0]
            # The reference makes v anew in each pass. In float64, because a rounding error of sigma can turn a ReLU on
            # whose input is zero but for rounding.
            v = F.normalize(u.double() @ value.double().flatten(1), dim=0).float()
            result[f"{new}.parametrizations.weight.original"] = value
            result[f"{new}.parametrizations.weight.0.u"] = u
            result[f"{new}.parametrizations.weight.0.v"] = v
        elif leaf not in ("u0", "sv0"):
            result[f"{new}.{new_leaf}"] = value
    return result


def rename(name: str, names: Mapping[str, str]) -> str:
    """``blocks.0.0.conv_sc.bias`` -> ``blocks.0.shortcut.bias``, ``blocks.0.1.theta`` -> ``attention.0.theta``."""
    parts = name.split(".")
    if parts[0] == "blocks":
        parts[0] = ["blocks", "attention"][int(parts.pop(2))]
    return ".".join(names.get(part, part) for part in parts)
