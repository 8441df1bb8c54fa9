"""Differentiable augmentation of everything that the discriminator sees."""

from adversaria.augment.ada import ADA
from adversaria.augment.diffaugment import DiffAugment
from adversaria.augment.identity import Identity

__all__ = ["ADA", "DiffAugment", "Identity"]
