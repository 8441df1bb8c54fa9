"""Pairs for translation: how a condition, such as a noisy picture, is made of a sample inside the training step."""

from adversaria.systems.pairing.base import ConditionsOf, Pairing
from adversaria.systems.pairing.denoise import Denoise

__all__ = ["ConditionsOf", "Denoise", "Pairing"]
