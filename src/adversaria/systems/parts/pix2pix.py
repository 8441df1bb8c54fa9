"""What stands for `adversaria.systems.pix2pix.Pix2Pix` in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from adversaria.systems.pairing import Pairing
from adversaria.systems.parts.gan import GANParts


@dataclass(frozen=True, kw_only=True)
class Pix2PixParts(GANParts):
    """Those of `adversaria.systems.pix2pix.Pix2Pix`, where their meaning is described."""

    pairing: Pairing | None = None
