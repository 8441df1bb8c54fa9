"""Terms of the objectives of D and G, such as gradient penalties."""

from adversaria.objectives.terms.auxiliary_classifier import AuxiliaryClassifier
from adversaria.objectives.terms.consistency import Consistency
from adversaria.objectives.terms.gradient import DRAGAN, R1, R2, GradientPenalty
from adversaria.objectives.terms.instance_noise import ExpectedInstanceNoise
from adversaria.objectives.terms.lecam import LeCam
from adversaria.objectives.terms.mutual_information import MutualInformation
from adversaria.objectives.terms.path_length import PathLength
from adversaria.objectives.terms.reconstruction import Reconstruction
from adversaria.objectives.terms.weights import OrthogonalRegularisation, WeightDecay

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
    "Reconstruction",
    "WeightDecay",
]
