"""Packed discriminators (Lin et al. 2018, "PacGAN: The Power of Two Samples in Generative Adversarial Networks")."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers.checks import require_positive
from adversaria.nn.wrappers.enclosing import EnclosingDiscriminator


class PackedDiscriminator(EnclosingDiscriminator):
    """Any discriminator that judges ``packing`` samples of one kind, all real or all fake, together (section 2).

    The samples of a pack are stacked along the channels (of points: along the coordinates), and the enclosed
    discriminator is built for as many channels more. A lack of variety, which a single sample cannot show, so becomes
    visible to it. A batch of N samples gives N / packing logits.

    Args:
        spec: of the data.
        packing: samples in a pack, the paper's m.
        network: called with a spec of ``packing`` times the channels, gives the discriminator.

    Raises:
        UserError: ``packing`` below 1, or a conditional discriminator, for which a pack would have several labels.
    """

    #: reals and fakes must not meet in one batch, where a pack could hold both
    mixes_samples = True

    def __init__(self, *, spec: DataSpec, packing: Depth = 2, network: Callable[..., nn.Module]) -> None:
        require_positive("model.discriminator", packing=packing)
        channels, *sides = spec.shape
        super().__init__(network(spec=dataclasses.replace(spec, shape=(packing * channels, *sides))))
        self._samples = packing  # in a pack of its own, which may be packed further inside
        self.packing = packing * self.inner.packing
        # What the enclosed discriminator reads of a pack is of none of its samples.
        self.codes, self.num_class_logits = None, None
        if self.conditional:
            raise UserError(
                "model.discriminator.network.conditional=true cannot be packed, because a pack has one label for each "
                "of its samples: set it to false, or take the discriminator without packing"
            )

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, ...]`` -> what the enclosed discriminator says of ``[N / packing, packing * C, ...]``.

        Raises:
            UserError: the batch is no whole number of packs.
        """
        if len(x) % self._samples:
            raise UserError(_indivisible(self._samples, "a batch", len(x)))
        packs = x.reshape(len(x) // self._samples, self._samples * x.shape[1], *x.shape[2:])
        output: DiscriminatorOutput = self.network(packs, labels)
        return output

    def check(self, system: Any) -> None:
        """Refuses a batch of G that is no whole number of packs, and lets the enclosed network refuse what it must.

        Raises:
            UserError: see above.
        """
        count = system.optim.generator_batch
        if count is not None and count % (self.packing * system.optim.accumulate):
            raise UserError(_indivisible(self.packing, "optim.generator_batch", count))
        super().check(system)


def _indivisible(packing: int, what: str, count: int) -> str:
    return (
        f"model.discriminator.packing={packing} does not divide {what} of {count} samples: choose data.batch_size and "
        f"optim.generator_batch so that each part of optim.accumulate is a multiple of {packing}"
    )
