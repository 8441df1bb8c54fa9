"""Images: stored with 8 bits, seen by networks as numbers in a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.modality import Drawn, Modality, Shown, Writer
from adversaria.modalities.ranges import checked_range


@dataclass(frozen=True)
class Image(Modality):
    """Images stored as uint8 ``[N, C, H, W]``, seen as float ``[N, C, H, W]``.

    What is uint8 already passes `encode` unchanged, and what is float passes `decode`: images that are scored may be
    samples of a network or images of a folder.

    Args:
        value_range: what 0 and 255 are for networks.

    Raises:
        UserError: the range is none.
    """

    value_range: tuple[float, float] = (-1.0, 1.0)

    noun: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        object.__setattr__(self, "value_range", checked_range(self.value_range))

    @property
    def writers(self) -> Mapping[str, Writer]:
        """``grid``: one PNG; ``png``: a folder of single ones; ``npz``: ``images`` uint8 ``[N, H, W, C]``."""
        from adversaria.modalities.files import images_writer, npz_writer, picture_writer

        return {
            "grid": picture_writer(self.show),
            "png": images_writer(),
            "npz": npz_writer("images", lambda stored: stored.permute(0, 2, 3, 1)),
        }

    def decode(self, stored: Tensor) -> Tensor:
        """0..255 to ``value_range``."""
        if stored.dtype != torch.uint8:
            return stored
        low, high = self.value_range
        return stored.to(torch.get_default_dtype()).mul_((high - low) / 255).add_(low)

    def encode(self, samples: Tensor) -> Tensor:
        """``value_range`` to 0..255, rounded; what lies outside is clamped."""
        if samples.dtype == torch.uint8:
            return samples
        low, high = self.value_range
        return samples.float().sub(low).mul_(255 / (high - low)).round_().clamp_(0, 255).to(torch.uint8)

    def activation(self) -> nn.Module:
        """Tanh.

        Raises:
            UserError: the value range is not [-1, 1].
        """
        if self.value_range != (-1.0, 1.0):
            raise UserError(
                f"generators end in tanh and make images in [-1, 1], but the data says {list(self.value_range)}: give "
                "its images the value range (-1, 1)"
            )
        return nn.Tanh()

    def show(self, drawn: Drawn) -> Shown:
        """A grid, under captions if there are any."""
        from adversaria.modalities.pictures import captioned, grid

        picture = grid(drawn.stored(), drawn.columns)
        return Shown(picture if drawn.captions is None else captioned(picture, drawn.captions))

    def as_image(self, stored: Tensor) -> Tensor:
        """The images themselves."""
        return stored
