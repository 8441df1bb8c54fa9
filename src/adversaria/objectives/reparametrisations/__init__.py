"""Changes of how weights are computed."""

from adversaria.objectives.reparametrisations.spectral_norm import SpectralNorm

__all__ = ["SpectralNorm"]
