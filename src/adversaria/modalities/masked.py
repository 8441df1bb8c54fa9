"""Images of which only a part is known, such as photographs with a hole to fill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adversaria.core.modality import Drawn, Shown
from adversaria.modalities.image import Image

#: what stands in pictures where nothing is known
_GREY = 128


@dataclass(frozen=True)
class MaskedImage(Image):
    """Images with one more channel, 255 where they are known and 0 where not, as the alpha channel of a file.

    Stored as uint8 ``[N, C + 1, H, W]``, seen as float of the same shape: the mask is the upper end of the value range
    where the image is known, and the lower end where not.
    """

    noun: ClassVar[str] = "masked images"

    def known(self, samples: Tensor) -> Tensor:
        """Bool ``[N, 1, H, W]`` of samples ``[N, C + 1, H, W]`` as the networks see them."""
        return samples[:, -1:] > sum(self.value_range) / 2

    def as_image(self, stored: Tensor) -> Tensor:
        """The images without the mask, grey where they are not known."""
        return torch.where(stored[:, -1:] > 127, stored[:, :-1], _GREY)

    def show(self, drawn: Drawn) -> Shown:
        """As other images."""
        return super().show(replace(drawn, blocks=[self.as_image(block) for block in drawn.blocks]))
