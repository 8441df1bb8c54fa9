"""Conditioning by concatenation (Mirza & Osindero 2014, "Conditional Generative Adversarial Nets", section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversaria.errors import UserError
from adversaria.types import DataSpec


def label_embedding(spec: DataSpec, dim: int) -> nn.Embedding:
    """A learned vector of ``dim`` numbers for each class of the data, standard normal at first, as latents are.

    Raises:
        UserError: the data has no labels.
    """
    if spec.num_classes is None:
        raise UserError(
            "a conditional model needs labels, and this data set has none: choose another data set, or set "
            "model.generator.conditional=false model.discriminator.conditional=false"
        )
    return nn.Embedding(spec.num_classes, dim)


def append_labels(x: Tensor, labels: Tensor | None, embedding: nn.Embedding | None) -> Tensor:
    """``x`` with the embedded labels as further channels; ``x`` itself for a network without ``embedding``.

    Args:
        x: vectors ``[N, D]`` or maps ``[N, C, H, W]``.
        labels: ``[N]`` int64 for a conditional network, None for any other.
        embedding: of E numbers, or None for an unconditional network.

    Returns:
        ``[N, D + E]``, or ``[N, C + E, H, W]`` where each number is one constant plane.

    Raises:
        ValueError: labels are missing, or nobody wants them.
    """
    if embedding is None:
        if labels is not None:
            raise ValueError("an unconditional network was given labels: pass labels=None")
        return x
    if labels is None:
        raise ValueError("a conditional network was given no labels: pass labels [N], one class number per sample")
    codes = embedding(labels).to(x.dtype)  # [N, E]
    if x.ndim == 4:
        codes = codes[:, :, None, None].expand(-1, -1, *x.shape[2:])  # [N, E, H, W]
    return torch.cat([x, codes], dim=1)
