"""kwotsin/mimicry: SNGAN, cGAN-PD, SAGAN and WGAN-GP at every size; what a record does not name, its tensors tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from parity.record import Record
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.networks.resnet import ResNetDiscriminator, ResNetGenerator

IN_BLOCKS = {"c1": "conv1", "c2": "conv2", "c_sc": "shortcut", "b1": "norm1", "b2": "norm2"}
#: elsewhere by the beginning of the name, whose number follows the depth: l1, b5 and c5 of a generator for 32 px
IN_GENERATOR = {"l": "input", "b": "norm", "c": "output"}
#: our first block for the number of theirs
FIRST_BLOCK = {ResNetGenerator: 2, ResNetDiscriminator: 1}


def networks(record: Record) -> tuple[nn.Module, nn.Module]:
    config, g, d = record.config, record.state("g"), record.state("d")
    classes = config.get("num_classes")
    spec = DataSpec(tuple(record.tensors["x"].shape[1:]), classes, Image())
    conditional = "labels" in record.tensors
    return (
        ResNetGenerator(
            spec=spec,
            latent_dim=config["nz"],
            width=config["ngf"],
            conditional=conditional,
            attention=any("attn_block" in name for name in g),
            spectral_norm=any(name.endswith("weight_orig") for name in g),
        ),
        ResNetDiscriminator(
            spec=spec,
            width=config["ndf"],
            conditional=conditional,
            attention=any("attn_block" in name for name in d),
            spectral_norm=any(name.endswith("weight_orig") for name in d),
            pooling="mean" if "wgan_gp" in config["source"] else "sum",
        ),
    )


def generator_state(state: Mapping[str, Tensor], generator: nn.Module) -> dict[str, Tensor]:
    return dict(_translated(state, generator))


def discriminator_state(state: Mapping[str, Tensor], discriminator: nn.Module) -> dict[str, Tensor]:
    return dict(_translated(state, discriminator))


def discriminator_parameter(name: str, discriminator: nn.Module) -> str:
    layer, kind = _layer(name, discriminator)
    parametrised = f"{layer}.parametrizations.weight.original"
    return (
        parametrised
        if parametrised in dict(discriminator.named_parameters()) and "weight" in kind
        else f"{layer}.{kind}"
    )


def _layer(name: str, network: nn.Module) -> tuple[str, str]:
    """Our name of the layer, and what follows in theirs."""
    if match := re.fullmatch(r"block(\d+)\.(\w+)\.(.+)", name):
        return f"blocks.{int(match[1]) - FIRST_BLOCK[type(network)]}.{IN_BLOCKS[match[2]]}", match[3]
    if match := re.fullmatch(r"attn_block\.(.+)", name):
        layer, _, kind = f"attention.{match[1]}".rpartition(".")
        return layer, kind
    layer, kind = name.split(".")
    if isinstance(network, ResNetGenerator):
        return IN_GENERATOR[layer[0]], kind
    return "projection" if layer == "l_y" else "head", kind


def _translated(state: Mapping[str, Tensor], network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.items():
        layer, kind = _layer(name, network)
        beside = name.rpartition(".")[0]
        if kind == "embed.weight":  # one table [gain | bias]; our gain is added to 1
            gain, bias = tensor.chunk(2, dim=1)
            yield f"{layer}.gain.weight", gain - 1
            yield f"{layer}.bias.weight", bias
        elif kind.startswith("bn."):
            yield f"{layer}.norm.{kind.removeprefix('bn.')}", tensor
        elif kind in ("weight_u", "weight_v"):
            yield f"{layer}.parametrizations.weight.0.{kind[-1]}", tensor
        elif kind == "sn_u":  # their own spectral norm keeps only the left singular vector
            yield f"{layer}.parametrizations.weight.0.u", tensor[0]
            yield f"{layer}.parametrizations.weight.0.v", F.normalize(tensor[0] @ state[f"{beside}.weight"], dim=0)
        elif kind == "weight_orig" or (kind == "weight" and f"{beside}.sn_u" in state):
            yield f"{layer}.parametrizations.weight.original", tensor
        elif kind != "sn_sigma":
            yield f"{layer}.{kind}", tensor
