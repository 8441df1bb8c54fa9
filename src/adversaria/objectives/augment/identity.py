"""No augmentation."""

from __future__ import annotations

from torch import Tensor, nn

from adversaria.core.types import DataSpec


class Identity(nn.Module):
    """Shows D the samples as they are.

    Args:
        spec: of the data, of any kind.
    """

    def __init__(self, *, spec: DataSpec) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        return x
