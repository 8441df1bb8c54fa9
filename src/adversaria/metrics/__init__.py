"""Scores of generators: extractors, reference statistics, and how each score was made."""

from __future__ import annotations

from adversaria.metrics.classifier_extractor import ClassifierExtractor
from adversaria.metrics.feature_metrics import FeatureMetrics
from adversaria.metrics.fidelity import CLIPExtractor, DINOv2Extractor, InceptionExtractor, VGG16Extractor
from adversaria.metrics.memorisation import Memorisation
from adversaria.metrics.modes import ModeCoverage
from adversaria.metrics.protocol import BLOCK, Draw, Extractor, LoadsForData, Metrics, Scores, Undefined, missing_of
from adversaria.metrics.stacked_modes import StackedModes
from adversaria.metrics.usefulness import Usefulness

__all__ = [
    "BLOCK",
    "CLIPExtractor",
    "ClassifierExtractor",
    "DINOv2Extractor",
    "Draw",
    "Extractor",
    "FeatureMetrics",
    "InceptionExtractor",
    "LoadsForData",
    "Memorisation",
    "Metrics",
    "ModeCoverage",
    "Scores",
    "StackedModes",
    "Undefined",
    "Usefulness",
    "VGG16Extractor",
    "missing_of",
]
