"""Generated images as they would be stored: 8 bits, in order, in batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from adversaria.core.errors import UserError
from adversaria.core.types import BLOCK, Batch, Draw
from adversaria.features.extraction import images_of, progress

if TYPE_CHECKING:
    from adversaria.core.types import DataSpec


def generated_images(draw: Draw, spec: DataSpec, start: int, stop: int) -> Batch:
    """Images of the samples of numbers ``start`` to ``stop - 1``: uint8 ``[stop - start, C, H, W]`` and their labels.

    Args:
        draw: see there.
        spec: of the data.
        start, stop: any; ``draw`` is asked for whole blocks.

    Raises:
        UserError: a sample is not finite.
    """
    first = start // BLOCK * BLOCK
    samples, labels = draw(first, math.ceil(stop / BLOCK) * BLOCK)
    if not bool(torch.isfinite(samples).all()):
        raise UserError("the model makes samples that are not finite; take an earlier checkpoint, such as best.ckpt")
    rows = slice(start - first, stop - first)
    classes = None if labels is None or labels.dim() > 1 else labels[rows]  # conditions are no classes
    return Batch(images_of(samples, spec)[rows], classes)


def generated_batches(draw: Draw, spec: DataSpec, count: int, batch_size: int, what: str) -> Iterator[Batch]:
    """The first ``count`` samples in batches, under a progress bar that is named ``what``; see `generated_images`."""
    for start in progress(range(0, count, batch_size), what):
        yield generated_images(draw, spec, start, min(start + batch_size, count))
