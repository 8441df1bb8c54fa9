"""Traces of JPEG's compression that are to be taken away."""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from adversaria.core.ranges import Between
from adversaria.core.types import DataSpec
from adversaria.systems.pairing.base import Pairing, image_spec, rounded

#: steps of quantisation of luma and of chroma for 8x8 coefficients (ITU-T T.81, annex K.1, tables K.1 and K.2)
_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
#: rows give Y, Cb and Cr of red, green and blue (JFIF 1.02, page 3)
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


class JPEG(Pairing):
    """Baseline JPEG without its lossless part: YCbCr, chroma halved, cosines of 8x8 blocks quantised (ITU-T T.81).

    The steps of quantisation follow ``quality`` as in the Independent JPEG Group's library, which most programs use.
    Computed here and not by a codec, so that it takes batches on any device.

    Args:
        quality: 1 to 95.
    """

    def __init__(self, *, quality: Annotated[int, Between(1, 95)] = 10) -> None:
        self.quality = quality

    def condition(self, spec: DataSpec) -> DataSpec:
        """Images like the samples."""
        return DataSpec(image_spec(spec, "jpeg"), None, spec.modality)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``x [N, C, H, W]`` as it comes back from a file, of the same shape; three channels are RGB, others grey."""
        pixels = x.float().add(1).mul(127.5)
        if x.shape[1] == 3:
            matrix = pixels.new_tensor(_YCBCR)
            ycbcr = torch.einsum("ij,njhw->nihw", matrix, pixels)
            luma, chroma = self._coded(ycbcr[:, :1] - 128, _LUMA) + 128, self._halved(ycbcr[:, 1:])
            pixels = torch.einsum("ij,njhw->nihw", matrix.inverse(), torch.cat([luma, chroma], dim=1))
        else:
            pixels = self._coded(pixels - 128, _LUMA) + 128
        return rounded(pixels.div(127.5).sub(1).to(x.dtype))

    def _halved(self, chroma: Tensor) -> Tensor:
        """``[N, 2, H, W]`` coded at half the height and width."""
        height, width = chroma.shape[2:]
        even = F.pad(chroma, (0, width % 2, 0, height % 2), mode="replicate")
        coded = self._coded(F.avg_pool2d(even, 2), _CHROMA)
        return F.interpolate(coded, scale_factor=2, mode="bilinear")[:, :, :height, :width]

    def _coded(self, x: Tensor, table: str) -> Tensor:
        """``[N, C, H, W]`` in steps of 8 bits about 0, its cosine coefficients rounded to steps of quantisation."""
        n, channels, height, width = x.shape
        x = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
        steps = _steps(table, self.quality).to(x.device)
        basis = _cosines().to(x.device)
        high, wide = (side // 8 for side in x.shape[2:])
        blocks = x.reshape(n, channels, high, 8, wide, 8).transpose(3, 4)  # [N, C, H / 8, W / 8, 8, 8]
        coefficients = (basis @ blocks @ basis.T / steps).round() * steps
        decoded: Tensor = (basis.T @ coefficients @ basis).transpose(3, 4).reshape(n, channels, *x.shape[2:])
        return decoded[:, :, :height, :width]


@cache
def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 numbers, ``[8, 8]``, a row for each frequency (T.81, A.3.3)."""
    k, i = torch.arange(8.0).view(-1, 1), torch.arange(8.0)
    basis = torch.cos((2 * i + 1) * k * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


@cache
def _steps(table: str, quality: int) -> Tensor:
    """Steps of quantisation ``[8, 8]``."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    values = torch.tensor([float(word) for word in table.split()])
    return ((values * scale + 50) / 100).floor().clamp(1, 255).view(8, 8)
