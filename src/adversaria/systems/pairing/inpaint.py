"""Holes that are to be filled."""

from __future__ import annotations

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Width
from adversaria.core.types import DataSpec
from adversaria.modalities.masked import MaskedImage
from adversaria.systems.pairing.base import Pairing, image_spec


class Inpaint(Pairing):
    """A square of which nothing is known, at a random place; the mask is one more channel (see `MaskedImage`).

    Args:
        side: of the square, in pixels.

    Raises:
        UserError: the square is larger than the images.
    """

    def __init__(self, *, side: Width = 8) -> None:
        self.side = side

    def condition(self, spec: DataSpec) -> DataSpec:
        """Images with a mask."""
        channels, height, width = image_spec(spec, "inpaint")
        if self.side >= min(height, width):
            raise UserError(
                f"model.pairing.side={self.side} leaves nothing known of {height}x{width} pixels; give a smaller side"
            )
        return DataSpec((channels + 1, height, width), None, MaskedImage(spec.value_range))

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``x [N, C, H, W]`` -> ``[N, C + 1, H, W]``: 0 in the square, and where something is known: 1, else -1."""
        top = _drawn(len(x), x.shape[2] - self.side + 1, generator, x.device)
        left = _drawn(len(x), x.shape[3] - self.side + 1, generator, x.device)
        rows = torch.arange(x.shape[2], device=x.device).view(1, 1, -1, 1)
        columns = torch.arange(x.shape[3], device=x.device).view(1, 1, 1, -1)
        hole = (rows >= top) & (rows < top + self.side) & (columns >= left) & (columns < left + self.side)
        return torch.cat([x.masked_fill(hole, 0.0), 1 - 2 * hole.to(x.dtype)], dim=1)

    def given(self, pictures: Tensor, known: Tensor | None = None) -> Tensor:
        """``pictures [N, C, H, W]`` with their mask.

        Raises:
            UserError: everything is known.
        """
        if known is None or bool(known.all()):
            raise UserError(
                "there is nothing to fill in a picture without transparent parts; erase what is to be filled and save "
                "it with an alpha channel, or give degrade=true"
            )
        return torch.cat([pictures.masked_fill(~known, 0.0), 2 * known.to(pictures.dtype) - 1], dim=1)


def _drawn(n: int, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """``[n, 1, 1, 1]`` int64, uniform in 0 .. count - 1."""
    return torch.randint(0, count, (n, 1, 1, 1), generator=generator, device=device)
