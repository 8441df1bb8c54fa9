"""What is done when a detector finds a failure: nothing, an end, or a way back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint

from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount, Positive, PositiveShare
from adversaria.health import Finding
from adversaria.systems.base import SteppedModule
from adversaria.training.callbacks.health import Health
from adversaria.training.callbacks.lookup import callback_of


class Guard(Callback):
    """Watches a run, stops it, or puts it back to its last healthy checkpoint and goes on with lower rates.

    A checkpoint is healthy if no detector saw a symptom when it was saved, and ``trial`` more updates have passed
    without a failure since: failures begin before they are found. The newest of these, younger ones and that of step 0
    are kept as ``checkpoints/step_NNNNNN.ckpt``. A run that after a rollback does not get beyond its earlier failure
    goes back to step 0.

    Args:
        action: ``watch``: findings are only told; ``stop``: the run ends with status ``unhealthy``; ``rollback``.
        findings: detectors that ``action`` is taken on; null: all of them.
        trial: generator updates.
        max_rollbacks: after how many the next finding stops the run.
        rate_factor: on all learning rates, at each rollback, above 0.
        penalty_factor: on the weights of D's penalties, at each rollback, above 0.

    Raises:
        UserError: a value out of range.
    """

    def __init__(
        self,
        *,
        action: Literal["watch", "stop", "rollback"] = "watch",
        findings: Sequence[str] | None = None,
        trial: Amount = 500,
        max_rollbacks: Amount = 3,
        rate_factor: PositiveShare = 0.25,
        penalty_factor: Positive = 1.0,
    ) -> None:
        for name, value in (("rate_factor", rate_factor), ("penalty_factor", penalty_factor)):
            if value <= 0:
                raise UserError(f"callbacks.guard.{name}={value} must be above 0; 1 changes nothing")
        if max_rollbacks < 1:
            raise UserError(f"callbacks.guard.max_rollbacks={max_rollbacks} must be at least 1; or choose guard=stop")
        if trial < 0:
            raise UserError(f"callbacks.guard.trial={trial} is negative; give the number of generator updates")
        self.action, self.findings, self.trial, self.max_rollbacks = action, findings, trial, max_rollbacks
        self.rate_factor, self.penalty_factor = rate_factor, penalty_factor
        #: steps of the newest healthy checkpoint and of younger ones
        self._kept: list[int] = []

    def state_dict(self) -> dict[str, Any]:
        """Which checkpoints are kept."""
        return {"kept": list(self._kept)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._kept = list(state_dict["kept"])

    def on_fit_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Refuses to act without what it needs.

        Raises:
            UserError: no checkpoints, no health, or detectors that are not there.
        """
        if self.action == "watch":
            return
        for name, kind in (("health", Health), ("checkpoint", LightningCheckpoint)):
            if callback_of(trainer, kind) is None:
                raise UserError(
                    f"guard={self.action} needs callbacks.{name}, which is left out: keep it, or guard=watch"
                )
        known = set(health.examination.detectors) if (health := callback_of(trainer, Health)) else set()
        if unknown := sorted(set(self.findings or []) - known):
            raise UserError(
                f"callbacks.guard.findings={','.join(unknown)} is no detector of callbacks.health; choose among "
                f"{', '.join(sorted(known))}"
            )

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Keeps the state of step 0, or the checkpoint that the run has just resumed from."""
        folder = Path(trainer.default_root_dir) / "checkpoints"
        if self.action != "rollback":
            return
        if trainer.global_step == 0:
            if not _file(folder, 0).is_file():
                trainer.save_checkpoint(_file(folder, 0), weights_only=False)
        else:  # it was saved before it was kept
            self.saved(trainer, folder / "last.ckpt")

    def failure(self, trainer: Trainer) -> Finding | None:
        """What was found at the present step and is to be acted on."""
        health = callback_of(trainer, Health)
        if self.action == "watch" or health is None:
            return None
        for finding in health.examination.findings:
            if finding.step == trainer.global_step and self._minds(finding.detector):
                return finding
        return None

    def _suspects(self, trainer: Trainer) -> bool:
        """Whether there is a symptom of something that is to be acted on."""
        health = callback_of(trainer, Health)
        return health is not None and any(self._minds(name) for name in health.examination.suspects)

    def _minds(self, detector: str) -> bool:
        return self.findings is None or detector in self.findings

    def saved(self, trainer: Trainer, path: Path) -> None:
        """Keeps the checkpoint that was just saved at ``path``, unless there are symptoms."""
        step = trainer.global_step
        if self.action != "rollback" or step in self._kept or self._suspects(trainer):
            return
        healthy = [kept for kept in self._kept if kept <= step - self.trial]
        self._kept = [kept for kept in self._kept if kept >= max(healthy, default=0)] + [step]
        if not trainer.is_global_zero:
            return
        temporary = path.with_name(f".kept.{secrets.token_hex(8)}.tmp")
        os.link(path, temporary)  # the next last.ckpt takes the name, not the content
        os.replace(temporary, _file(path.parent, step))
        for file in set(path.parent.glob("step_*.ckpt")) - {_file(path.parent, kept) for kept in (0, *self._kept)}:
            file.unlink()

    def healthy_checkpoint(self, folder: Path, failure: Finding, earlier: Sequence[Mapping[str, Any]]) -> Path:
        """The checkpoint in ``folder`` to go back to after ``failure`` and the rollbacks before it."""
        further = not earlier or failure.step > earlier[-1]["step"]
        healthy = [kept for kept in self._kept if kept <= failure.step - self.trial and _file(folder, kept).is_file()]
        return _file(folder, max(healthy, default=0) if further else 0)


def _file(folder: Path, step: int) -> Path:
    return folder / f"step_{step:06d}.ckpt"
