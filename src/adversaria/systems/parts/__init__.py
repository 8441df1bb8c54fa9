"""What systems and the samplers of their checkpoints have in common; it knows no Lightning.

A checkpoint's config names a system, whose module imports Lightning. While samples are taken from the checkpoint,
``NAMEParts`` of `adversaria.systems.parts.file` stands for the class ``NAME`` of `adversaria.systems.file`. A system
without parts, and one of a user's own, stands there itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.nn.inputs import ConditionInputs, Inputs, LatentInputs
from adversaria.nn.prior import Prior
from adversaria.systems.pairing import ConditionsOf, Pairing

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

_SYSTEM = re.compile(r"adversaria\.systems\.([a-z]\w*)\.([A-Z]\w*)", re.ASCII)


class DrawsInputs:
    """Whatever knows what a sampler is called with: a system, and the sampler of its checkpoint.

    Attributes:
        spec: of the samples.
        prior: of the latents.
        conditional: whether the sampler takes labels, or conditions where ``spec.condition`` says what they are.
        pairing: makes conditions of samples; None: the data has them, or there are none.
    """

    spec: DataSpec
    prior: Prior
    conditional: bool
    pairing: Pairing | None = None

    @property
    def condition(self) -> DataSpec | None:
        """What conditions look like that the sampler is called with, such as pictures to edit; None: it has none."""
        return self.spec.condition if self.conditional else None

    @property
    def translates(self) -> bool:
        """Whether the sampler is called with conditions and not with labels."""
        return self.condition is not None

    def inputs(
        self,
        data: DataModule | None = None,
        given: Tensor | None = None,
        *,
        seed: int = 0,
        labels: Sequence[int] | None = None,
        truncation: float | None = None,
    ) -> Inputs:
        """What the sampler is called with, by number.

        Args:
            data: prepared. Labels are drawn as often as they occur in its training split (without it all alike);
                conditions are those of its test split (of the training split, where it has no other) or made of it.
            given: what stands in place of drawn latents ``[N, latent_dim]``, or the conditions ``[N,
                *condition.shape]`` of a sampler that takes some; beyond the last they begin again.
            seed: of latents, labels and of whatever is random in conditions.
            labels: input ``i`` gets ``labels[i % len(labels)]``.
            truncation: see `LatentInputs`.

        Raises:
            UserError: a truncation that the prior does not take; neither data nor conditions for a translation.
        """
        if self.translates:
            if truncation is not None:
                raise UserError(
                    f"truncation={truncation} is about latents, and this model edits; leave truncation=null"
                )
            return ConditionInputs(self.prior, self._conditions(data, given, seed), seed=seed)
        weights: Sequence[float] | None = None
        if self.conditional and labels is None:
            weights = (None if data is None else data.class_counts) or [1.0] * int(self.spec.num_classes or 1)
        return LatentInputs(
            self.prior, seed=seed, labels=labels, class_weights=weights, truncation=truncation, given=given
        )

    def _conditions(self, data: DataModule | None, given: Tensor | None, seed: int) -> Callable[[int, int], Tensor]:
        if given is not None:
            return lambda start, stop: given[torch.arange(start, stop) % len(given)]
        if data is None:
            raise UserError("this model edits what it is given and draws nothing by itself; give it images=FOLDER")
        return ConditionsOf(data, self.pairing, seed)


class Parts:
    """What a stored config says under ``model``, so that a checkpoint can be looked at without its system.

    Attributes:
        sampler_name: key of the network that samples are taken from.
        encoder_name: key of the one that gives the posterior of their latents; None: there is none.
    """

    sampler_name: ClassVar[str] = "generator"
    encoder_name: ClassVar[str | None] = None


def parts_name(system: Any) -> str | None:
    """The name of what stands for a system of the package; None for any other name, and for what is no name.

    >>> parts_name("adversaria.systems.gan.GAN")
    'adversaria.systems.parts.gan.GANParts'
    """
    match = _SYSTEM.fullmatch(system) if isinstance(system, str) else None
    return f"{__name__}.{match[1]}.{match[2]}Parts" if match else None
