"""A run that fails goes back to a healthy state, says so, and is as reproducible as any other."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
import torch
from training.test_resume import COMMON, POINTS, Killed, assert_same_end

from adversaria.cli import train as command
from adversaria.core.errors import UserError
from adversaria.data.stream import EpochStream
from adversaria.runs.folder import Run
from adversaria.training.callbacks.checkpoint import Checkpoint

#: a reading every four updates, one earlier reading is enough to compare with, and a spike at update 24
FAILING = (
    *POINTS,
    *COMMON,
    "trainer.max_steps=40",
    "guard=rollback",
    "callbacks.guard.trial=5",
    "callbacks.guard.findings=[exploding_gradients,not_finite]",
    "callbacks.health.every_n_steps=4",
    "callbacks.health.samples=8",
    "callbacks.health.detectors.exploding_gradients.oldest=2",
    "callbacks.health.detectors.exploding_gradients.factor=1000",
    "+callbacks.spike={_target_: breaking.Spike, step: 25, factor: '1e6', lives: 1}",
    "trust=[breaking]",
)


@pytest.fixture
def trusting(train_run: Callable[..., Run]) -> Callable[..., Run]:
    """`train_run` of `FAILING` with a spike after ``step`` updates in ``lives`` lives."""

    def train(name: str, *overrides: str) -> Run:
        return train_run(name, *FAILING, *overrides)

    return train


def result_of(run: Run) -> dict[str, Any]:
    return run.read_result() or {}


def rows_of(run: Run) -> list[dict[str, str]]:
    with open(run.path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_spike_puts_the_run_back(trusting: Callable[..., Run]) -> None:
    run = trusting("run")
    result = result_of(run)
    assert result["status"] == "finished"
    assert result["generator_updates"] == 40
    [record] = result["rollbacks"]
    assert record["detector"] == "exploding_gradients"
    # The spike falls into the reading at 28; checkpoints were saved at 5, 10, ... 25, that of 25 is not yet proven.
    assert (record["step"], record["to_step"]) == (28, 20)
    rows = rows_of(run)
    assert [int(row["step"]) for row in rows] == list(range(4, 41, 4))
    before, after = float(rows[4]["rate/generator"]), float(rows[5]["rate/generator"])
    assert after == pytest.approx(record["rate_factor"] * before)
    given_up = (run.path / "rollbacks" / "1.csv").read_text().splitlines()
    assert len(given_up) == 1 + 7  # up to the reading that found it


def test_rolled_back_runs_are_reproducible(trusting: Callable[..., Run]) -> None:
    assert_same_end(trusting("a"), trusting("b"))


@pytest.mark.parametrize("death", [26, 33])
def test_resume_is_exact_across_a_rollback(
    trusting: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, death: int
) -> None:
    """Killed between the spike and its finding, and after the rollback."""
    whole = trusting("whole")
    original = Checkpoint._end_of_step

    def dies(self: Checkpoint, trainer: Any, module: Any) -> None:
        if trainer.global_step == death:
            raise Killed
        original(self, trainer, module)

    monkeypatch.setattr(Checkpoint, "_end_of_step", dies)
    with pytest.raises(Killed):
        trusting("cut")
    monkeypatch.setattr(Checkpoint, "_end_of_step", original)
    cut = trusting("cut")
    assert result_of(cut)["rollbacks"] == result_of(whole)["rollbacks"] != []
    assert_same_end(whole, cut)


def test_a_run_that_fails_again_at_once_goes_back_to_the_start(trusting: Callable[..., Run]) -> None:
    run = trusting("run", "callbacks.spike.lives=2", "callbacks.guard.penalty_factor=2", "regulariser=r1")
    assert [record["to_step"] for record in result_of(run)["rollbacks"]] == [20, 0]
    assert result_of(run)["status"] == "finished"
    checkpoint = torch.load(run.last, weights_only=True)
    assert [record["penalty_factor"] for record in checkpoint["rollbacks"]] == [2, 2]


def test_after_the_last_rollback_the_run_ends(trusting: Callable[..., Run], make_config: Any) -> None:
    overrides = ("callbacks.spike.lives=9", "callbacks.guard.max_rollbacks=1")
    run = trusting("run", *overrides)
    result = result_of(run)
    assert (result["status"], len(result["rollbacks"])) == ("unhealthy", 1)
    assert [finding["detector"] for finding in result["findings"]] == ["exploding_gradients"]
    config = make_config(*FAILING, *overrides)
    with pytest.raises(UserError, match="guard=watch"):
        command._already_ended(run, config, swept=False)
    config["callbacks"]["guard"]["action"] = "watch"
    assert command._already_ended(run, config, swept=False) is None


def test_nan_is_a_failure_to_go_back_from(trusting: Callable[..., Run]) -> None:
    [record] = result_of(trusting("run", "callbacks.spike.factor='inf'"))["rollbacks"]
    assert record["detector"] == "not_finite"


def test_watch_tells_and_stop_stops(trusting: Callable[..., Run]) -> None:
    watched = result_of(trusting("watched", "callbacks.guard.action=watch"))
    assert (watched["status"], watched["rollbacks"]) == ("finished", [])
    assert watched["findings"][0]["step"] == 28
    stopped = result_of(trusting("stopped", "callbacks.guard.action=stop"))
    assert (stopped["status"], stopped["generator_updates"]) == ("unhealthy", 28)


def test_a_detector_that_is_not_there_is_refused(trusting: Callable[..., Run]) -> None:
    with pytest.raises(UserError, match="mode_collapse"):
        trusting("run", "callbacks.guard.findings=[mode_collapse]")


def test_the_order_of_the_data_changes() -> None:
    first, second = (EpochStream(100, 7, rollbacks=n).indices(0, 100).tolist() for n in (0, 1))
    assert first != second
    assert sorted(second) == list(range(100))
