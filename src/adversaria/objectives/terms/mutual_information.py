"""What makes latent codes visible in the samples."""

from __future__ import annotations

from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count, NonNegative
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step
from adversaria.nn.layers import Codes, without_autocast
from adversaria.nn.network import as_discriminator, as_generator
from adversaria.objectives.game import Game


class MutualInformation:
    """-E[log Q(c | G(z, c))], the negative of a lower bound of the information that samples have of their codes.

    Chen et al. 2016, equation 5 without the codes' own entropy, which is constant. Q is a head of D; both D (with Q)
    and G minimise it, as in the authors' code, so that it stands twice in ``regulariser``, once for either.

    With the index of a generator as the one code it is the classifier of MGAN (Hoang et al. 2018, equation 5): D's
    entry trains the classifier, and G's, weighted by the paper's beta, makes the generators differ.

    Args:
        weight: lambda, 0 or more, or a ramp.
        continuous_weight: of the continuous codes relative to the categorical ones, 0 or more.
        interval: computed every so many steps, and then counted so many times.
        applies_to: ``discriminator`` or ``generator``.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    def __init__(
        self,
        *,
        weight: Weight = 1.0,
        continuous_weight: NonNegative = 1.0,
        interval: Count = 1,
        applies_to: Network = "discriminator",
    ) -> None:
        for name, value in (("weight", weight), ("continuous_weight", continuous_weight)):
            if isinstance(value, int | float) and not value >= 0:
                raise UserError(f"{name}={value} of the mutual information is out of range: it must be 0 or more")
        if interval < 1:
            raise UserError(f"interval={interval} of the mutual information is out of range: it must be 1 or more")
        self.weight, self.continuous_weight = weight, continuous_weight
        self.interval = interval
        self.applies_to: Network = applies_to

    def __call__(self, step: Step) -> Tensor:
        """In nats, a float32 scalar."""
        assert step.fake_output is not None
        assert step.fake_output.class_logits is not None
        generator = as_generator(step.generator)
        assert generator.codes is not None
        codes = step.latents[:, generator.noise_dim :]
        with without_autocast(codes.device):
            return generator.codes.nll(step.fake_output.class_logits, codes, self.continuous_weight)

    def check(self, game: Game) -> None:
        """See `adversaria.systems.gan.GAN`.

        Raises:
            UserError: G has no codes, or D does not read those that G has.
        """
        written, read = as_generator(game.generator).codes, as_discriminator(game.discriminator).codes
        if written is None:
            raise UserError(
                "regulariser=mutual_information and regulariser=generator_classifier need a generator with codes: "
                "choose generator=infogan, generator=mgan or generator=mgan_different, or regulariser=none"
            )
        if read != written:
            raise UserError(
                f"the generator has the codes categorical={list(written.categorical)} continuous={written.continuous}, "
                f"and the discriminator reads {_describe(read)}: choose discriminator=infogan or discriminator=mgan, "
                "and set model.discriminator.categorical and model.discriminator.continuous to those of the generator"
            )


def _describe(codes: Codes | None) -> str:
    if codes is None:
        return "none"
    return f"categorical={list(codes.categorical)} continuous={codes.continuous}"
