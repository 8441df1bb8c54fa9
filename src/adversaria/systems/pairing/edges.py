"""Outlines that are to become pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from adversaria.core.types import DataSpec
from adversaria.systems.pairing.base import Pairing, image_spec, rounded
from adversaria.systems.pairing.colourise import LUMA


class Edges(Pairing):
    """The length of Sobel's gradient of the luma, one channel of 8 bits: black where the picture is even.

    Soft edges, without thresholds: what they are of a picture does not depend on how bright the others are.
    """

    def condition(self, spec: DataSpec) -> DataSpec:
        """Grey images."""
        _, height, width = image_spec(spec, "edges")
        return DataSpec((1, height, width), None, spec.modality)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``x [N, C, H, W]`` -> ``[N, 1, H, W]``; a step from black to white is white."""
        weights = x.new_tensor(LUMA).view(3, 1, 1) if x.shape[1] == 3 else x.new_full((1, 1, 1), 1 / x.shape[1])
        luma = F.pad((x * weights).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        sobel = x.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8  # a step of 2 gives 1
        slopes = F.conv2d(luma, torch.stack([sobel, sobel.T]).unsqueeze(1))  # [N, 2, H, W]
        return rounded(2 * slopes.norm(dim=1, keepdim=True).clamp(max=1) - 1)
