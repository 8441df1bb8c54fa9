"""What a logger of this package takes besides values: words and pictures."""

from __future__ import annotations

from lightning import Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor


class RunLogger(Logger):
    """A logger that may also take words and pictures; by default it passes them over."""

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Takes some words of generator update ``step``."""

    def log_picture(self, tag: str, rgb: Tensor, step: int) -> None:
        """Takes a uint8 ``[3, H, W]`` picture of generator update ``step``; it may come from another thread."""


def run_loggers(trainer: Trainer) -> list[RunLogger]:
    """The loggers of ``trainer`` that take words and pictures.

    Lightning's own are given values alone: what they call `log_text` (W&B) or `log_image` takes other arguments.
    """
    return [logger for logger in trainer.loggers if isinstance(logger, RunLogger)]
