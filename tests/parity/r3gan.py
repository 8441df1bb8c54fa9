"""R3GAN as in the authors' code (brownvc/R3GAN): ``R3GAN/Networks.py``, with or without labels.

Its stages are ``MainLayers.<s>.Layers.<l>``: in G the transition (basis or upsampling) comes first, in D last, and D's
stages go from the image down.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from parity.record import Record
from torch import Tensor, nn

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.networks.r3gan import Block, Downsample, R3GANDiscriminator, R3GANGenerator, Upsample

EMBEDDING = "EmbeddingLayer.weight"
WITHIN_LAYER = {
    "LinearLayer1.Layer.weight": "expand.weight",
    "NonLinearity1.Bias": "expand.bias",
    "LinearLayer2.Layer.weight": "grouped.weight",
    "NonLinearity2.Bias": "grouped.bias",
    "LinearLayer3.Layer.weight": "contract.weight",
    "LinearLayer.Layer.weight": "weight",  # where the number of channels changes
}
GENERATOR = {
    "MainLayers.0.Layers.0.Basis": "basis",
    "MainLayers.0.Layers.0.LinearLayer.weight": "project.weight",
    "AggregationLayer.Layer.weight": "to_image.weight",
    EMBEDDING: "embedding.weight",
}
DISCRIMINATOR = {
    "ExtractionLayer.Layer.weight": "layers.0.weight",
    EMBEDDING: "embedding.weight",
}


def networks(record: Record) -> tuple[nn.Module, nn.Module]:
    """Of the widths, groups and blocks that the state dicts show, which say more than the config does."""
    tensors, g_state, d_state = record.tensors, _plain(record.state("g")), _plain(record.state("d"))
    g_sizes, d_sizes = _sizes(g_state, first_block=1), _sizes(d_state, first_block=0)
    for name in ("width", "group_size", "blocks"):
        d_sizes[name].reverse()  # theirs go from the image down
    classes = None
    if EMBEDDING in g_state:
        g_sizes["label_dim"], classes = g_state[EMBEDDING].shape
        d_sizes["label_dim"] = len(d_state[EMBEDDING])
    spec = DataSpec(tuple(tensors["images"].shape[1:]), classes, Image())
    conditional = classes is not None
    return (
        R3GANGenerator(spec=spec, latent_dim=tensors["z"].shape[1], conditional=conditional, **g_sizes),
        R3GANDiscriminator(spec=spec, conditional=conditional, **d_sizes),
    )


def _sizes(state: Mapping[str, Tensor], first_block: int) -> dict[str, Any]:
    """The arguments of our constructors."""
    pattern = re.compile(r"MainLayers\.(\d+)\.Layers\.(\d+)\.LinearLayer2\.Layer\.weight")
    blocks = Counter(int(match[1]) for match in map(pattern.fullmatch, state) if match)
    first = [f"MainLayers.{stage}.Layers.{first_block}" for stage in range(len(blocks))]
    expand = [state[f"{block}.LinearLayer1.Layer.weight"] for block in first]  # [expanded, width, 1, 1]
    grouped = [state[f"{block}.LinearLayer2.Layer.weight"] for block in first]  # [expanded, group size, K, K]
    return {
        "width": [weight.shape[1] for weight in expand],
        "group_size": [weight.shape[1] for weight in grouped],
        "blocks": [blocks[stage] for stage in range(len(blocks))],
        "expansion": expand[0].shape[0] // expand[0].shape[1],
        "kernel_size": grouped[0].shape[-1],
    }


def generator_state(state: Mapping[str, Tensor], generator: nn.Module) -> dict[str, Tensor]:
    stages = _stages(generator, transition_first=True)
    return _renamed(state, lambda name: GENERATOR.get(name) or _in_stage(name, stages))


def discriminator_state(state: Mapping[str, Tensor], discriminator: nn.Module) -> dict[str, Tensor]:
    renamed = _renamed(state, lambda name: discriminator_parameter(name, discriminator))
    return renamed | {"basis": renamed["basis"].squeeze(1)}  # theirs is a depthwise convolution [C, 1, 4, 4]


def discriminator_parameter(name: str, discriminator: nn.Module) -> str:
    name = name.removeprefix("Model.")
    stages = _stages(discriminator, transition_first=False)
    last = f"MainLayers.{len(stages) - 1}.Layers.{len(stages[-1])}"
    basis = {f"{last}.Basis.weight": "basis", f"{last}.LinearLayer.weight": "head.weight"}
    return (DISCRIMINATOR | basis).get(name) or _in_stage(name, stages)


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the wrapper of the authors' training code."""
    return {name.removeprefix("Model."): value for name, value in state.items()}


def _renamed(state: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    state = {name: value for name, value in _plain(state).items() if not name.endswith("Kernel")}  # of the resamplers
    if EMBEDDING in state:
        state[EMBEDDING] = state[EMBEDDING].T  # theirs is a linear map of one-hot vectors
    return {rename(name): value for name, value in state.items()}


def _stages(network: nn.Module, transition_first: bool) -> list[dict[int, str]]:
    """For each of their stages: our module of each of their layers, by its number."""
    stages: list[list[str]] = [[]]
    projections: dict[int, str] = {}
    for name, layer in network.layers.named_children():
        if isinstance(layer, Block):
            stages[-1].append(f"layers.{name}")
        elif isinstance(layer, Upsample | Downsample):
            stages.append([])
        elif name != "0" or transition_first:  # D's first convolution has a name of its own
            # G's 1x1 convolution stands before its upsampling, D's behind its downsampling.
            projections[len(stages) - (0 if transition_first else 2)] = f"layers.{name}"
    numbered = [dict(enumerate(blocks, start=int(transition_first))) for blocks in stages]
    for stage, name in projections.items():
        numbered[stage][0 if transition_first else len(numbered[stage])] = name
    return numbered


def _in_stage(name: str, stages: list[dict[int, str]]) -> str:
    match = re.fullmatch(r"MainLayers\.(\d+)\.Layers\.(\d+)\.(.+)", name)
    assert match, name
    module = stages[int(match[1])][int(match[2])]
    return f"{module}.{WITHIN_LAYER[match[3]]}"
