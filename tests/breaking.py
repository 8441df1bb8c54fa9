"""What breaks a run on purpose; configs name it with ``trust=[breaking]``."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback
from torch import Tensor


class Spike(Callback):
    """Multiplies the losses, and so the gradients, of one update in the first ``lives`` lives of a run.

    Args:
        step: generator updates done before it.
        factor: of the losses, as text: no number of a config is infinite.
        lives: after so many rollbacks it does not happen again.
    """

    def __init__(self, *, step: int, factor: str, lives: int = 1) -> None:
        self.step, self.factor, self.lives = step, float(factor), lives

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Stands between the loss and its gradient."""
        original = pl_module.backward_part

        def backward_part(loss: Tensor, **keywords: Any) -> Tensor:
            spoilt = pl_module.update == self.step and len(pl_module.rollbacks) < self.lives
            value: Tensor = original(loss * self.factor if spoilt else loss, **keywords)
            return value

        pl_module.backward_part = backward_part
