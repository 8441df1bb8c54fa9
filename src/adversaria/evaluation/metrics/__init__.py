"""Scores of samples against data."""

from adversaria.evaluation.metrics.feature_metrics import FeatureMetrics
from adversaria.evaluation.metrics.modes import ModeCoverage
from adversaria.evaluation.metrics.paired import PairedMetrics
from adversaria.evaluation.metrics.reconstruction import Reconstruction
from adversaria.evaluation.metrics.stacked_modes import StackedModes

__all__ = ["FeatureMetrics", "ModeCoverage", "PairedMetrics", "Reconstruction", "StackedModes"]
