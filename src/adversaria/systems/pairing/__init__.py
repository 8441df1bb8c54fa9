"""Pairs for translation: how a condition, such as a noisy picture, is made of a sample inside the training step."""

from adversaria.systems.pairing.base import ConditionsOf, Pairing
from adversaria.systems.pairing.colourise import Colourise
from adversaria.systems.pairing.deblur import Deblur
from adversaria.systems.pairing.denoise import Denoise
from adversaria.systems.pairing.edges import Edges
from adversaria.systems.pairing.inpaint import Inpaint
from adversaria.systems.pairing.jpeg import JPEG
from adversaria.systems.pairing.super_resolution import SuperResolution

__all__ = [
    "JPEG",
    "Colourise",
    "ConditionsOf",
    "Deblur",
    "Denoise",
    "Edges",
    "Inpaint",
    "Pairing",
    "SuperResolution",
]
