"""Differentiable augmentation of everything that the discriminator sees."""

from adversaria.objectives.augment.ada import ADA
from adversaria.objectives.augment.base import Augmentation, adaptive
from adversaria.objectives.augment.diffaugment import DiffAugment
from adversaria.objectives.augment.identity import Identity

__all__ = ["ADA", "Augmentation", "DiffAugment", "Identity", "adaptive"]
