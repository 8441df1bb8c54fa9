"""Points of a space of few dimensions, in units of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adversaria.core.modality import Drawn, Modality, Shown, Writer
from adversaria.modalities.ranges import checked_range


@dataclass(frozen=True)
class Points(Modality):
    """Points ``[N, D]``, stored as float32 just as networks see them.

    Args:
        value_range: of the axes of a picture; it informs, nothing is clipped.

    Raises:
        UserError: the range is none.
    """

    value_range: tuple[float, float] = (-1.0, 1.0)

    noun: ClassVar[str] = "points"
    columns: ClassVar[int] = 100  # as many as make a cloud

    def __post_init__(self) -> None:
        object.__setattr__(self, "value_range", checked_range(self.value_range))

    @property
    def writers(self) -> Mapping[str, Writer]:
        """``grid``: a scatter plot; ``npz``: ``points`` float32 ``[N, D]``."""
        from adversaria.modalities.files import npz_writer, picture_writer

        return {"grid": picture_writer(self.show), "npz": npz_writer("points")}

    def decode(self, stored: Tensor) -> Tensor:
        """The same."""
        return stored

    def encode(self, samples: Tensor) -> Tensor:
        """The same in float32."""
        return samples.float()

    def activation(self) -> nn.Module:
        """None: points have no bounds."""
        return nn.Identity()

    def show(self, drawn: Drawn) -> Shown:
        """A scatter plot, each row of ``columns`` in a colour of its own."""
        from adversaria.modalities.pictures import scatter

        return Shown(scatter(drawn.stored(), self.value_range, drawn.columns))
