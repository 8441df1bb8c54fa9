"""Small pictures that are to be enlarged."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between
from adversaria.core.types import DataSpec
from adversaria.systems.pairing.base import Pairing, image_spec, rounded


class SuperResolution(Pairing):
    """Bicubic and antialiased reduction to 8 bits, then bicubic enlargement: networks see it at the answer's size.

    Args:
        factor: of height and width, which it must divide.

    Raises:
        UserError: a factor that does not divide both sides.
    """

    def __init__(self, *, factor: Annotated[int, Between(2, 64)] = 2) -> None:
        self.factor = self.enlarges = factor

    def condition(self, spec: DataSpec) -> DataSpec:
        """Images like the samples."""
        _, height, width = shape = image_spec(spec, "super_resolution")
        if height % self.factor or width % self.factor or self.factor >= min(height, width):
            raise UserError(
                f"model.pairing.factor={self.factor} does not divide images of {height}x{width}; give "
                "another factor, or another data.size"
            )
        return DataSpec(shape, None, spec.modality)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``x [N, C, H, W]`` without its fine detail, of the same shape."""
        return self.given(self.reduced(x))

    def reduced(self, x: Tensor) -> Tensor:
        """``x [N, C, H, W]`` -> ``[N, C, H / factor, W / factor]``, as 8 bits hold it."""
        size = (x.shape[2] // self.factor, x.shape[3] // self.factor)
        return rounded(F.interpolate(x, size, mode="bicubic", antialias=True))

    def given(self, pictures: Tensor, known: Tensor | None = None) -> Tensor:
        """``pictures [N, C, h, w]`` enlarged, ``[N, C, h * factor, w * factor]``."""
        return rounded(F.interpolate(pictures, scale_factor=self.factor, mode="bicubic"))
