"""No augmentation."""

from __future__ import annotations

from torch import Tensor

from adversaria.core.types import DataSpec
from adversaria.objectives.augment.base import Augmentation


class Identity(Augmentation):
    """Shows D the samples as they are.

    Args:
        spec: of the data, of any kind.
    """

    def __init__(self, *, spec: DataSpec) -> None:
        super().__init__()

    @property
    def moves_only(self) -> bool:
        """Yes."""
        return True

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        return x
