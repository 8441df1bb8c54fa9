"""Gradient penalties and other terms, constraints and reparametrisations of D and G."""

from adversaria.penalties.auxiliary_classifier import AuxiliaryClassifier
from adversaria.penalties.clipping import WeightClipping
from adversaria.penalties.consistency import Consistency
from adversaria.penalties.gradient import DRAGAN, R1, R2, GradientPenalty
from adversaria.penalties.instance_noise import ExpectedInstanceNoise
from adversaria.penalties.lecam import LeCam
from adversaria.penalties.mutual_information import MutualInformation
from adversaria.penalties.path_length import PathLength
from adversaria.penalties.spectral_norm import SpectralNorm
from adversaria.penalties.weights import OrthogonalRegularisation, WeightDecay

__all__ = [
    "DRAGAN",
    "R1",
    "R2",
    "AuxiliaryClassifier",
    "Consistency",
    "ExpectedInstanceNoise",
    "GradientPenalty",
    "LeCam",
    "MutualInformation",
    "OrthogonalRegularisation",
    "PathLength",
    "SpectralNorm",
    "WeightClipping",
    "WeightDecay",
]
