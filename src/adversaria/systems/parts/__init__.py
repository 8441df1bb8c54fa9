"""What systems and the samplers of their checkpoints have in common; it knows no Lightning.

A checkpoint's config names a system, whose module imports Lightning. While samples are taken from the checkpoint,
``NAMEParts`` of `adversaria.systems.parts.file` stands for the class ``NAME`` of `adversaria.systems.file`. A system
without parts, and one of a user's own, stands there itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from adversaria.nn.inputs import Inputs, LatentInputs
from adversaria.nn.prior import Prior

_SYSTEM = re.compile(r"adversaria\.systems\.([a-z]\w*)\.([A-Z]\w*)", re.ASCII)


class DrawsLatents:
    """Whatever draws latents for a generator.

    Attributes:
        prior: of the latents.
    """

    prior: Prior

    def inputs(
        self,
        *,
        seed: int = 0,
        labels: Sequence[int] | None = None,
        class_weights: Sequence[float] | None = None,
        truncation: float | None = None,
    ) -> Inputs:
        """What the sampler is called with, by number; the arguments are those of `LatentInputs`.

        Raises:
            UserError: a truncation that the prior does not take.
        """
        return LatentInputs(self.prior, seed=seed, labels=labels, class_weights=class_weights, truncation=truncation)


class Parts:
    """What a stored config says under ``model``, so that a checkpoint can be looked at without its system.

    Attributes:
        sampler_name: key of the network that samples are taken from.
    """

    sampler_name: ClassVar[str] = "generator"


def parts_name(system: Any) -> str | None:
    """The name of what stands for a system of the package; None for any other name, and for what is no name.

    >>> parts_name("adversaria.systems.gan.GAN")
    'adversaria.systems.parts.gan.GANParts'
    """
    match = _SYSTEM.fullmatch(system) if isinstance(system, str) else None
    return f"{__name__}.{match[1]}.{match[2]}Parts" if match else None
