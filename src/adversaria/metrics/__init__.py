"""Scores of generators: extractors, reference statistics, and how each score was made."""

from __future__ import annotations

from adversaria.metrics.classifier_extractor import ClassifierExtractor
from adversaria.metrics.feature_metrics import FeatureMetrics
from adversaria.metrics.inception import InceptionExtractor
from adversaria.metrics.modes import ModeCoverage
from adversaria.metrics.protocol import BLOCK, Draw, Extractor, LoadsForData, Metrics

__all__ = [
    "BLOCK",
    "ClassifierExtractor",
    "Draw",
    "Extractor",
    "FeatureMetrics",
    "InceptionExtractor",
    "LoadsForData",
    "Metrics",
    "ModeCoverage",
]
