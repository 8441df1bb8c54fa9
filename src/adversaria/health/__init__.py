"""How healthy a run is: what is measured beside the training, what goes wrong, and what to change."""

from adversaria.health.detectors import (
    DiscriminatorOverfits,
    DiscriminatorWon,
    ExplodingGradients,
    GeneratorCollapse,
    NotFinite,
    PosteriorCollapse,
    ScoreDegrades,
    VanishingGradients,
)
from adversaria.health.examination import (
    Detector,
    Examination,
    Finding,
    Reading,
    applicable,
    networks_of,
    unsuited,
)
from adversaria.health.layers import gradient_profile, singular_values, weight_layers
from adversaria.health.probe import Probe

__all__ = [
    "Detector",
    "DiscriminatorOverfits",
    "DiscriminatorWon",
    "Examination",
    "ExplodingGradients",
    "Finding",
    "GeneratorCollapse",
    "NotFinite",
    "PosteriorCollapse",
    "Probe",
    "Reading",
    "ScoreDegrades",
    "VanishingGradients",
    "applicable",
    "gradient_profile",
    "networks_of",
    "singular_values",
    "unsuited",
    "weight_layers",
]
