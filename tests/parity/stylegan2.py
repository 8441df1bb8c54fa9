"""NVlabs/stylegan2-ada-pytorch, ``training/networks.py``: Generator ("skip") and Discriminator of any architecture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from parity.record import Record
from torch import Tensor, nn

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

ARCHITECTURES = {"resnet": "residual", "orig": "plain", "skip": "skip"}


def networks(record: Record) -> tuple[nn.Module, nn.Module]:
    """Sizes come from the weights where these tell them."""
    config, g, d = record.config, record.state("g"), record.state("d")
    size, classes = config["img_resolution"], config.get("c_dim") or None
    spec = DataSpec((len(g[f"synthesis.b{size}.torgb.weight"]), size, size), classes, Image())
    width = len(d["b4.conv.weight"])
    shared = {key: config[key] for key in ("channel_base", "channel_max")} | {"conditional": classes is not None}
    generator = StyleGAN2Generator(
        spec=spec,
        latent_dim=config["z_dim"],
        style_dim=config["w_dim"],
        mapping_layers=mapping_layers(g),
        **shared,
    )
    discriminator = StyleGAN2Discriminator(
        spec=spec,
        architecture=ARCHITECTURES[config["d_architecture"]],
        mbstd_group=config["mbstd_group_size"],
        mbstd_channels=d["b4.conv.weight"].shape[1] - width,
        cmap_dim=len(d["b4.out.weight"]) if classes else None,
        mapping_layers=mapping_layers(d) or 1,
        **shared,
    )
    return generator, discriminator


def mapping_layers(state: Mapping[str, Tensor]) -> int:
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in state)


def ours(state: Mapping[str, Tensor], rename: dict[str, str]) -> dict[str, Tensor]:
    """The filters are ours already; a linear map of one-hot labels is an embedding with its transpose."""
    kept = {name: tensor for name, tensor in state.items() if not name.endswith("resample_filter")}
    return {rename[n]: t.t() if n == "mapping.embed.weight" else t for n, t in kept.items()}


def mapping_name(name: str) -> str:
    name = re.sub(r"^mapping\.fc(\d+)", r"mapping.layers.\1", name)
    return name.replace("mapping.embed.weight", "mapping.labels.embedding.weight").replace(
        "mapping.embed.bias", "mapping.labels.bias"
    )


def generator_name(name: str) -> str:
    name = {"mapping.w_avg": "w_avg", "synthesis.b4.const": "synthesis.constant"}.get(name, mapping_name(name))
    if not (match := re.fullmatch(r"synthesis\.b(\d+)\.(conv(\d)|torgb)\.(.*)", name)):
        return name
    size, part, which, rest = match.groups()
    block = int(math.log2(int(size))) - 2
    # The first block has no convolution that doubles the size, "conv0".
    layer = "to_image" if part == "torgb" else f"convolutions.{int(which) - (block == 0)}"
    return f"synthesis.blocks.{block}.{layer}.{rest.replace('noise_const', 'noise')}"


def generator_state(state: Mapping[str, Tensor], generator: nn.Module) -> dict[str, Tensor]:
    """Our names of the reference's."""
    return ours(state, {name: generator_name(name) for name in state})


def discriminator_parameter(name: str, discriminator: nn.Module) -> str:
    """Our name of the reference's."""
    if not (match := re.fullmatch(r"b(\d+)\.(\w+)\.(.*)", name)):
        return mapping_name(name)
    size, part, rest = match.groups()
    if size == "4":
        part = {"fromrgb": "from_image", "conv": "convolution", "fc": "hidden", "out": "head"}[part]
        return f"{part}.{rest}"
    part = {"fromrgb": "from_image", "conv0": "convolution", "conv1": "halving.1", "skip": "shortcut.1"}[part]
    block = len(discriminator.blocks) + 2 - int(math.log2(int(size)))
    return f"blocks.{block}.{part}.{rest}"


def discriminator_state(state: Mapping[str, Tensor], discriminator: nn.Module) -> dict[str, Tensor]:
    """Our names of the reference's."""
    learned = {name: tensor for name, tensor in state.items() if not name.endswith("resample_filter")}
    return ours(learned, {name: discriminator_parameter(name, discriminator) for name in learned})
