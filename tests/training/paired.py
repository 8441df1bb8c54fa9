"""A system as a user would write one of pairs: G has little to vary once it has seen what to translate."""

from __future__ import annotations

from adversaria.core.types import FailureDetector
from adversaria.health import DiscriminatorWon
from adversaria.systems.gan import GAN


class Paired(GAN):
    """Stands for one whose D may win, and whose samples may be alike."""

    def suits(self, detector: FailureDetector) -> bool:
        return "diversity/spread" not in detector.needs and not isinstance(detector, DiscriminatorWon)
