"""Pictures larger than a network's: cut into overlapping tiles, and put together without seams."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def tiled(
    network: Callable[[Tensor], Tensor], picture: Tensor, tile: tuple[int, int], *, batch_size: int = 64
) -> Tensor:
    """``network`` applied to a picture of any size.

    Tiles overlap by half at least; where they do, each counts the less the nearer its border is. A picture smaller than
    a tile is continued by its mirror image. A picture of the size of a tile is one plain call.

    Args:
        network: ``[N, C, h, w]`` -> ``[N, C', h, w]``, for tiles.
        picture: ``[C, H, W]``.
        tile: ``(h, w)``.
        batch_size: tiles at a time.

    Returns:
        ``[C', H, W]``.
    """
    height, width = picture.shape[1:]
    for dim, side in ((1, tile[0]), (2, tile[1])):
        picture = _mirrored(picture, max(picture.shape[dim], side), dim)
    corners = [(top, left) for top in _starts(picture.shape[1], tile[0]) for left in _starts(picture.shape[2], tile[1])]
    if len(corners) == 1:
        return network(picture[None])[0][:, :height, :width]
    weight = _rise(tile[0], picture).view(-1, 1) * _rise(tile[1], picture)  # [h, w]
    made, total = picture.new_zeros(0), picture.new_zeros(picture.shape[1:])
    for start in range(0, len(corners), batch_size):
        part = corners[start : start + batch_size]
        cut = torch.stack([picture[:, top : top + tile[0], left : left + tile[1]] for top, left in part])
        edited = network(cut)
        if not made.numel():
            made = edited.new_zeros(edited.shape[1], *picture.shape[1:])
        for (top, left), one in zip(part, edited, strict=True):
            place = (slice(top, top + tile[0]), slice(left, left + tile[1]))
            made[:, *place] += one * weight
            total[place] += weight
    return (made / total)[:, :height, :width]


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along a side: at both ends, and between them at most half a tile apart."""
    steps = math.ceil((length - tile) / max(1, tile // 2))
    return [round(k * (length - tile) / steps) for k in range(steps + 1)] if steps else [0]


def _rise(tile: int, like: Tensor) -> Tensor:
    """``[tile]``: the distance to the nearer end, from 1."""
    places = torch.arange(1, tile + 1, device=like.device, dtype=like.dtype)
    return torch.minimum(places, places.flip(0))


def _mirrored(picture: Tensor, length: int, dim: int) -> Tensor:
    """``picture`` continued at the end of ``dim`` by its mirror image, as often as that takes."""
    side = picture.shape[dim]
    places = torch.arange(length, device=picture.device) % (2 * side)
    return picture.index_select(dim, torch.where(places < side, places, 2 * side - 1 - places))
