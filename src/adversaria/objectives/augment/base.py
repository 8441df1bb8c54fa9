"""What every augmentation may do beside the training step."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress


class Augmentation(nn.Module, ABC):
    """A differentiable change of everything that D sees: samples ``[N, *shape]`` -> samples of the same shape.

    Derive from it for one that adapts to the training; for any other a plain `torch.nn.Module` will do.
    """

    @property
    def moves_only(self) -> bool:
        """Whether it moves and erases what is at a place, whatever the channels: a pair of pictures can take it."""
        return False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Samples ``[N, *shape]``, changed."""

    def begin_step(self, progress: Progress) -> None:
        """Called before each generator update with how far the run is."""

    def observe(self, real_logits: Tensor) -> None:
        """Called after each step of D with its logits ``[N, ...]`` of the augmented reals."""

    def values(self) -> dict[str, Tensor]:
        """Scalars for the loggers, by name, asked for in logged steps."""
        return {}


class _Fixed(Augmentation):
    """Stands beside a plain module, which the training does not change."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        return x


def adaptive(augment: nn.Module) -> Augmentation:
    """What of ``augment`` follows the training: itself, or nothing for a plain module.

    Raises:
        UserError: a plain module has a method that is one of an `Augmentation`, which nothing would call.
    """
    if isinstance(augment, Augmentation):
        return augment
    for name in ("begin_step", "observe", "values"):
        if hasattr(augment, name):  # of a user's own class
            raise UserError(
                f"augment={type(augment).__name__} has a method {name}, which is called for augmentations that derive "
                "from adversaria.objectives.augment.Augmentation alone; derive the class from it"
            )
    return _Fixed()
