"""Projections of weights after an optimizer step."""

from adversaria.objectives.constraints.clipping import WeightClipping

__all__ = ["WeightClipping"]
