"""Paired translation: a GAN that is given a picture where others are given a class."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Seed
from adversaria.core.types import Constraint, DataSpec, Reparametrisation, Term
from adversaria.nn.latents import Latent
from adversaria.objectives.augment import adaptive
from adversaria.objectives.losses import AdversarialLoss
from adversaria.systems.gan import GAN
from adversaria.systems.optim import Optim
from adversaria.systems.pairing import Pairing


class Pix2Pix(GAN):
    """G edits what it is given, D sees it beside the answer (Isola et al. 2017, "Image-to-Image Translation with
    Conditional Adversarial Networks", section 3).

    The training step is that of `adversaria.systems.gan.GAN`; the i-th fake is made for the condition of the i-th real.
    The L1 term of equation 3 is `adversaria.objectives.terms.reconstruction.Reconstruction`.

    Args:
        spec: of the data, with its condition.
        generator: maps ``z [N, latent_dim]`` and conditions ``[N, *spec.condition.shape]`` to ``[N, *spec.shape]``.
        discriminator: maps samples and their conditions to `adversaria.core.types.DiscriminatorOutput`.
        loss, regulariser, augment, optim, seed, latent: as of `adversaria.systems.gan.GAN`; an augmentation may move
            and erase, which happens to a sample and its condition alike.
        pairing: makes the conditions of the samples inside of the step; None: the data has them.

    Raises:
        UserError: there are no conditions, ``optim.generator_batch`` is set, an augmentation changes colours, or as of
            `adversaria.systems.gan.GAN`.
    """

    pairs = True

    def __init__(
        self,
        *,
        spec: DataSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        regulariser: Mapping[str, Term | Constraint | Reparametrisation],
        augment: nn.Module,
        optim: Optim,
        seed: Seed,
        latent: Latent | None = None,
        pairing: Pairing | None = None,
    ) -> None:
        if optim.generator_batch is not None:
            raise UserError(
                f"optim.generator_batch={optim.generator_batch} asks for more fakes than there are pictures to edit in "
                "a batch; set it to null, or data.batch_size higher"
            )
        super().__init__(
            spec=spec,
            generator=generator,
            discriminator=discriminator,
            loss=loss,
            regulariser=regulariser,
            augment=augment,
            optim=optim,
            seed=seed,
            latent=latent,
        )
        self.pairing = pairing
        if not adaptive(augment).moves_only:
            raise UserError(
                f"augment={type(augment).__name__} changes colours, which would part a picture from its answer: choose "
                "augment=none, augment.policy=[translation,cutout] of DiffAugment, or ADA without colour, filter and "
                "noise"
            )
