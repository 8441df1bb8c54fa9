"""Finiteness and the clock of a run."""

from __future__ import annotations

import time

import pytest
import torch

from adversaria.core.seeding import step_seed
from adversaria.systems.base import RunningLoss, Stopwatch, all_finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_single_bad_loss_is_noticed_at_the_next_reading(bad: float) -> None:
    running = RunningLoss()
    for loss in (1.0, bad, 2.0, -5.0):
        running.add(torch.tensor(loss))
    assert not running.is_finite()
    running.add(torch.tensor(1.0))
    assert running.is_finite()


def test_opposite_infinities_do_not_cancel() -> None:
    running = RunningLoss()
    running.add(torch.tensor(float("inf")))
    running.add(torch.tensor(float("-inf")))
    assert not running.is_finite()


def test_all_finite_looks_at_parameters_and_buffers() -> None:
    module = torch.nn.BatchNorm1d(3)
    assert all_finite(module)
    module.running_var[1] = float("nan")
    assert not all_finite(module)


def test_step_seeds_do_not_repeat() -> None:
    seeds = {step_seed(s, r, u, b) for s in range(4) for r in range(4) for u in range(-1, 50) for b in range(2)}
    assert len(seeds) == 4 * 4 * 51 * 2
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_stopwatch_leaves_out_pauses_and_adds_up_resumes() -> None:
    clock = Stopwatch()
    clock.set(10.0)
    clock.start()
    with clock.paused():
        held = clock.seconds
        time.sleep(0.02)
        assert clock.seconds == held
    time.sleep(0.001)
    clock.stop()
    assert 10.0 < clock.seconds < held + 0.015
    with clock.paused():
        pass
    assert clock.seconds == clock.seconds  # a clock that stood still still does
