"""The class terms of AC-GAN (Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs")."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step
from adversaria.nn.layers import at_least_float32
from adversaria.nn.network import as_discriminator
from adversaria.objectives.game import Game
from adversaria.objectives.terms.checks import check_term


class AuxiliaryClassifier:
    """Cross-entropy of the labels under D's class logits: on reals for D, on fakes for G.

    The paper's equation 3 lets D learn the classes of fakes, too; here as in igul222/improved_wgan_training, whose
    weights are 1 for D and 0.1 for G, D learns those of reals alone: early fakes show nothing of their class. Any D
    that fills ``class_logits [N, K]`` and says so by ``num_class_logits = K`` will do.

    Args:
        applies_to: whose objective it joins; a model needs both terms.
        weight: 0 or more, or a ramp.
        interval: computed every so many steps, and then counted so many times.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    def __init__(self, *, applies_to: Network = "discriminator", weight: Weight = 1.0, interval: Count = 1) -> None:
        check_term(f"auxiliary_classifier_{applies_to[0]}", weight, interval)
        self.applies_to: Network = applies_to
        self.weight = weight
        self.interval = interval

    def check(self, game: Game) -> None:
        """Refuses a D that does not guess labels.

        Raises:
            UserError: D has no ``num_class_logits``.
        """
        if as_discriminator(game.discriminator).num_class_logits is None:
            raise UserError(
                "regulariser.auxiliary_classifier needs a discriminator that guesses labels: choose "
                "discriminator=acgan or discriminator=classifying with a conditional generator, or leave the term out"
            )

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        on_reals, on_fakes = (step.real_output, step.real_labels), (step.fake_output, step.fake_labels)
        output, labels = on_reals if self.applies_to == "discriminator" else on_fakes
        assert output is not None
        assert output.class_logits is not None
        assert labels is not None
        return F.cross_entropy(at_least_float32(output.class_logits), labels)
