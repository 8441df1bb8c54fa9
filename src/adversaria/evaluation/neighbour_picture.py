"""A picture of samples beside their nearest training images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

#: in pixels: small images are enlarged by a whole factor to at least the one side, large ones reduced to the other
_LEAST, _MOST = 96, 160
_MARGIN, _GAP, _HEAD, _CAPTION = 32, 4, 60, 26
_INK, _GREY, _RED, _PAPER = "#202020", "#808080", "#c81e28", "#ffffff"


class Row(NamedTuple):
    """A sample uint8 ``[C, H, W]``, its nearest training images ``[k, C, H, W]``, and their distances in order."""

    sample: Tensor
    neighbours: Tensor
    distances: list[float]


def neighbour_picture(blocks: Mapping[str, Sequence[Row]], threshold: float | None, note: str) -> Tensor:
    """Blocks side by side, each under its title, with a row for each sample: the sample, a gap, its neighbours with
    their distances.

    Args:
        blocks: rows by title; all with equally many neighbours and images of one size.
        threshold: distances up to it are written in red; None: none are.
        note: the last line.

    Returns:
        uint8 ``[3, H, W]``.
    """
    first = next(iter(blocks.values()))[0]
    width, height = _shown(first.sample).size
    block_width = width + _MARGIN + len(first.neighbours) * (width + _GAP) - _GAP
    columns = len(blocks) * (block_width + 2 * _MARGIN)
    lines = max(len(rows) for rows in blocks.values()) * (height + _CAPTION)
    paper = (max(columns, int(_font(15).getlength(note)) + 2 * _MARGIN), 2 * _MARGIN + _HEAD + lines)
    canvas = Image.new("RGB", paper, _PAPER)
    for number, (title, rows) in enumerate(blocks.items()):
        _draw_block(canvas, _MARGIN + number * (block_width + 2 * _MARGIN), title, rows, threshold)
    ImageDraw.Draw(canvas).text((_MARGIN, paper[1] - _MARGIN // 2), note, _GREY, _font(15), anchor="ls")
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)


def _draw_block(canvas: Image.Image, left: int, title: str, rows: Sequence[Row], threshold: float | None) -> None:
    pen = ImageDraw.Draw(canvas)
    width, height = _shown(rows[0].sample).size
    top, right = _MARGIN + _HEAD, left + width + _MARGIN  # of the samples; where the neighbours begin
    pen.text((left, top - 38), title, _INK, _font(22), anchor="ls")
    pen.text((left, top - 8), "sample", _GREY, _font(15), anchor="ls")
    pen.text((right, top - 8), "nearest training images", _GREY, _font(15), anchor="ls")
    for line, row in enumerate(rows):
        y = top + line * (height + _CAPTION)
        canvas.paste(_shown(row.sample), (left, y))
        for k, (image, distance) in enumerate(zip(row.neighbours, row.distances, strict=True)):
            x = right + k * (width + _GAP)
            canvas.paste(_shown(image), (x, y))
            colour = _RED if threshold is not None and distance <= threshold else _GREY
            pen.text((x + width // 2, y + height + 4), f"{distance:#.3g}", colour, _font(14), anchor="mt")


def _shown(image: Tensor) -> Image.Image:
    """uint8 ``[C, H, W]`` in RGB at the size at which it is shown."""
    height, width = image.shape[-2:]
    picture = Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
    if max(height, width) <= _MOST:
        factor = math.ceil(_LEAST / max(height, width))
        return picture.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((_MOST, _MOST), Image.Resampling.LANCZOS)
    return picture


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
