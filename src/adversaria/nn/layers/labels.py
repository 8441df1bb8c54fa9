"""Conditioning by concatenation (Mirza & Osindero 2014, "Conditional Generative Adversarial Nets", section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec


def class_count(spec: DataSpec) -> int:
    """How many classes the data has.

    Raises:
        UserError: it has no labels.
    """
    if spec.num_classes is None:
        raise UserError(
            "a conditional model needs labels, and this data set has none: choose another data set, or networks that "
            "take no labels, as with model.generator.conditional=false model.discriminator.conditional=false"
        )
    return spec.num_classes


def label_embedding(spec: DataSpec, dim: int) -> nn.Embedding:
    """A learned vector of ``dim`` numbers for each class of the data, standard normal at first, as latents are.

    Raises:
        UserError: the data has no labels.
    """
    return nn.Embedding(class_count(spec), dim)


def check_labels(labels: Tensor | None, conditional: bool) -> None:
    """Raises ValueError if a conditional network is given no labels, or any other network some."""
    if labels is not None and not conditional:
        raise ValueError("an unconditional network was given labels: pass labels=None")
    if labels is None and conditional:
        raise ValueError("a conditional network was given no labels: pass labels [N], one class number per sample")


def label_arguments(labels: Tensor | None, conditional: bool) -> tuple[Tensor, ...]:
    """``(labels,)`` for a conditional network, ``()`` for any other: what a layer takes besides its input.

    Raises:
        ValueError: see `check_labels`.
    """
    check_labels(labels, conditional)
    return () if labels is None else (labels,)


def append_labels(x: Tensor, labels: Tensor | None, embedding: nn.Module | None) -> Tensor:
    """``x`` with the embedded labels as further channels; ``x`` itself for a network without ``embedding``.

    Args:
        x: vectors ``[N, D]`` or maps ``[N, C, H, W]``.
        labels: ``[N]`` int64 for a conditional network, None for any other.
        embedding: maps labels to ``[N, E]``, or None for an unconditional network.

    Returns:
        ``[N, D + E]``, or ``[N, C + E, H, W]`` where each number is one constant plane.

    Raises:
        ValueError: labels are missing, or nobody wants them.
    """
    check_labels(labels, embedding is not None)
    if embedding is None or labels is None:
        return x
    codes: Tensor = embedding(labels).to(x.dtype)  # [N, E]
    if x.ndim == 4:
        codes = codes[:, :, None, None].expand(-1, -1, *x.shape[2:])  # [N, E, H, W]
    return torch.cat([x, codes], dim=1)
