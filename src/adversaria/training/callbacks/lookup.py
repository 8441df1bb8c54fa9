"""How one callback finds another."""

from __future__ import annotations

from typing import TypeVar

from lightning import Trainer
from lightning.pytorch.callbacks import Callback

Kind = TypeVar("Kind", bound=Callback)


def callback_of(trainer: Trainer, kind: type[Kind]) -> Kind | None:
    """The trainer's callback of ``kind``; None if it was left out."""
    return next((c for c in trainer.callbacks if isinstance(c, kind)), None)  # type: ignore[attr-defined]
