"""How one callback finds another, and the system that trains."""

from __future__ import annotations

from typing import TypeVar, cast

from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.systems.base import SteppedModule

Kind = TypeVar("Kind", bound=Callback)


def callback_of(trainer: Trainer, kind: type[Kind]) -> Kind | None:
    """The trainer's callback of ``kind``; None if it was left out."""
    return next((c for c in trainer.callbacks if isinstance(c, kind)), None)  # type: ignore[attr-defined]


def system_of(trainer: Trainer) -> SteppedModule:
    """The system that ``trainer`` trains; no run of this package trains another module."""
    return cast(SteppedModule, trainer.lightning_module)
