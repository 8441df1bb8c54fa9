"""Training from Python is training from the command line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

import adversaria
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run

TINY = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "data.batch_size=16",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_steps=30",
    "trainer.log_every_n_steps=2",
    "callbacks.health.samples=8",
)


class Counts(Callback):
    """Notes the updates it saw."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """One more."""
        self.seen.append(trainer.global_step)


def test_it_trains_goes_on_and_takes_callbacks(tmp_path: Path) -> None:
    counts = Counts()
    result = adversaria.train(*TINY, run_dir=tmp_path / "run", callbacks=[counts])
    assert (result["status"], counts.seen) == ("finished", list(range(1, 31)))
    again = adversaria.train(*TINY, "trainer.max_steps=32", run_dir=tmp_path / "run", callbacks=[counts])
    assert (again["generator_updates"], counts.seen[30:]) == (32, [31, 32])
    assert Run(tmp_path / "run").stored_overrides()[:2] == ["model=mlp", "data=ring8"]
    with pytest.raises(UserError, match="another config"):
        adversaria.train(*TINY, "seed=5", run_dir=tmp_path / "run")


def test_callbacks_see_the_life_after_a_rollback(tmp_path: Path) -> None:
    counts = Counts()
    result = adversaria.train(
        *TINY,
        "guard=rollback",
        "callbacks.guard.trial=0",
        "callbacks.health.every_n_steps=2",
        "callbacks.checkpoint.every_n_steps=8",
        "+callbacks.spike={_target_: breaking.Spike, step: 20, factor: '1e9'}",
        "trust=[breaking]",
        run_dir=tmp_path / "run",
        callbacks=[counts],
    )
    [record] = result["rollbacks"]
    assert counts.seen == [*range(1, record["step"] + 1), *range(record["to_step"] + 1, 31)]


def test_singular_values_by_layer_on_request(tmp_path: Path) -> None:
    overrides = (*TINY, "callbacks.health.singular_values=true", "callbacks.health.every_n_steps=30", "logger=csv")
    adversaria.train(*overrides, run_dir=tmp_path / "run")
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for network in ("generator", "discriminator"):
        names = [name for name in last if name.startswith(f"singular_value/{network}/")]
        assert len(names) == 4
        for name in names:
            layer = name.split("/")[2].split("_", 1)[1]
            expected = torch.linalg.svdvals(state[f"{network}.{layer}.weight"])[0]
            assert float(last[name]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("guard=stop", "~callbacks.health"), "callbacks.health"),
        (("guard=rollback", "~callbacks.checkpoint"), "callbacks.checkpoint"),
        (("guard=rollback", "callbacks.guard.rate_factor=0"), "rate_factor"),
        (("guard=rollback", "callbacks.guard.max_rollbacks=0"), "max_rollbacks"),
        (("guard=rollback", "callbacks.guard.trial=-1"), "trial"),
    ],
)
def test_a_guard_that_cannot_act_is_refused(tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        adversaria.train(*TINY, *overrides, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
