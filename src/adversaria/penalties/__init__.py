"""Gradient penalties and other constraints of the discriminator."""

from adversaria.penalties.clipping import WeightClipping
from adversaria.penalties.gradient import DRAGAN, R1, R2, GradientPenalty

__all__ = ["DRAGAN", "R1", "R2", "GradientPenalty", "WeightClipping"]
