"""What we rely on in Lightning, apart from our code: a failure here says that an upgrade changed the ground."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn


class TwoOptimizers(LightningModule):
    """Steps one optimizer through the strategy and one as Lightning wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.counted, self.uncounted = nn.Linear(1, 1), nn.Linear(1, 1)
        self.hooks: list[int] = []

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(net.parameters(), lr=0.1) for net in (self.counted, self.uncounted)]

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.hooks.append(self.trainer.optimizers.index(optimizer))

    def training_step(self, batch: torch.Tensor, _: int) -> None:
        counted, uncounted = self.optimizers()  # type: ignore[attr-defined]
        for _k in range(3):
            self.manual_backward(self.uncounted(batch).sum())
            self.trainer.strategy.optimizer_step(uncounted.optimizer, lambda: None)
        self.manual_backward(self.counted(batch).sum())
        counted.step()


class Endless:
    """Batches without end."""

    def __iter__(self) -> Any:
        while True:
            yield torch.ones(2, 1)


def trainer(**options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
        **{"enable_checkpointing": False, **options},
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_only_wrapped_steps_count_and_both_call_the_hook(precision: str) -> None:
    module = TwoOptimizers()
    run = trainer(max_steps=10, precision=precision, check_val_every_n_epoch=None)
    run.fit(module, Endless())
    assert run.global_step == 10
    assert module.hooks == [1, 1, 1, 0] * 10


def test_autocast_caches_no_weights() -> None:
    """Else the second step of D within one training step would compute with the weights before the first."""
    context = MixedPrecision("bf16-mixed", "cpu").autocast_context_manager()
    with context:
        assert not torch.is_autocast_cache_enabled()


def test_checkpoint_callbacks_run_after_all_others() -> None:
    class Last(Checkpoint):
        pass

    class First(Callback):
        pass

    run = trainer(max_steps=1, callbacks=[Last(), First()], enable_checkpointing=True)
    assert isinstance(run.callbacks[-1], Last)  # type: ignore[attr-defined]


def test_an_endless_loader_needs_no_length() -> None:
    run = trainer(max_steps=7, check_val_every_n_epoch=None, val_check_interval=None)
    run.fit(TwoOptimizers(), Endless())
    assert run.global_step == 7
