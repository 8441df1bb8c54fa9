"""How healthy a run is: what is measured beside the training, what goes wrong, and what to change."""

from adversaria.diagnosis.detectors import (
    DiscriminatorOverfits,
    DiscriminatorWon,
    ExplodingGradients,
    GeneratorCollapse,
    NotFinite,
    ScoreDegrades,
    VanishingGradients,
)
from adversaria.diagnosis.examination import Detector, Examination, Finding, Reading
from adversaria.diagnosis.layers import gradient_profile, singular_values, weight_layers
from adversaria.diagnosis.probe import Probe, logit_summary

__all__ = [
    "Detector",
    "DiscriminatorOverfits",
    "DiscriminatorWon",
    "Examination",
    "ExplodingGradients",
    "Finding",
    "GeneratorCollapse",
    "NotFinite",
    "Probe",
    "Reading",
    "ScoreDegrades",
    "VanishingGradients",
    "gradient_profile",
    "logit_summary",
    "singular_values",
    "weight_layers",
]
