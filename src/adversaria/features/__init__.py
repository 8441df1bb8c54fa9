"""Frozen networks that look at samples, and what they see."""

from adversaria.features.classifier_extractor import ClassifierExtractor
from adversaria.features.fidelity import CLIPExtractor, DINOv2Extractor, InceptionExtractor, VGG16Extractor

__all__ = ["CLIPExtractor", "ClassifierExtractor", "DINOv2Extractor", "InceptionExtractor", "VGG16Extractor"]
