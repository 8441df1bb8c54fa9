"""Adversarial losses: pairs of pure functions of the discriminator's logits."""

from adversaria.objectives.losses.adversarial import AdversarialLoss, DiscriminatorLoss, GeneratorLoss

__all__ = ["AdversarialLoss", "DiscriminatorLoss", "GeneratorLoss"]
