"""Grey pictures that are to be coloured."""

from __future__ import annotations

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.systems.pairing.base import Pairing, image_spec, rounded

#: of red, green and blue in luma (ITU-R BT.601), as Pillow weighs them
LUMA = (0.299, 0.587, 0.114)


class Colourise(Pairing):
    """Luma (ITU-R BT.601), one channel of 8 bits."""

    def condition(self, spec: DataSpec) -> DataSpec:
        """Grey images.

        Raises:
            UserError: the samples are no images of three channels.
        """
        channels, height, width = image_spec(spec, "colourise")
        if channels != 3:
            raise UserError(
                f"pairing=colourise makes colours, and the images have {channels} channel; set data.channels=3"
            )
        return DataSpec((1, height, width), None, spec.modality)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``x [N, 3, H, W]`` -> ``[N, 1, H, W]``."""
        return self.given(x)

    def given(self, pictures: Tensor, known: Tensor | None = None) -> Tensor:
        """``pictures [N, 3, H, W]``, grey or not -> ``[N, 1, H, W]``."""
        return rounded((pictures * pictures.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True))
