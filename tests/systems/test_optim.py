"""Schedules as functions of the share of the budget, and optimizer settings that are refused."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.core.schedules import CosineRamp, Progress
from adversaria.systems.optim import Constant, CosineDecay, LazyAdam, LinearDecay, Optim, make_optimizer


def at(update: int, updates: int, per_update: int = 10) -> Progress:
    """So far of a run."""
    return Progress(update, updates, update * per_update, updates * per_update)


def test_schedules_at_known_points() -> None:
    linear, cosine = LinearDecay(start=0.5, final=0.1), CosineDecay()
    assert [linear(at(u, 100)) for u in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.55, 0.1])
    assert [cosine(at(u, 100)) for u in (0, 25, 50, 100)] == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, 0])


def test_warm_up_is_linear_and_multiplies_the_decay() -> None:
    assert [Constant(warmup=4)(at(u, 100)) for u in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert LinearDecay(warmup=4)(at(1, 10)) == pytest.approx(0.5 * 0.9)


def test_rates_follow_the_schedule_from_the_initial_rate() -> None:
    factory = functools.partial(torch.optim.SGD, lr=0.1)
    optim = Optim(generator=factory, schedule=LinearDecay())
    optimizer = make_optimizer(factory, [torch.nn.Parameter(torch.zeros(1))], scaled_gradients=False)
    for update in (5, 9, 0):  # in any order: nothing accumulates
        optim.set_rates([optimizer], at(update, 10))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * (1 - update / 10))


@pytest.mark.parametrize(
    ("field", "value"), [("n_critic", 0), ("accumulate", 0), ("generator_batch", -1), ("clip_norm", 0.0)]
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"optim\.{field}={value}"):
        Optim(generator=functools.partial(torch.optim.SGD, lr=0.1), **{field: value})


def test_fused_step_gives_way_to_the_gradient_scaler() -> None:
    factory = functools.partial(torch.optim.Adam, lr=0.1, fused=True)
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    assert make_optimizer(factory, parameters, scaled_gradients=False).defaults["fused"]
    assert not make_optimizer(factory, parameters, scaled_gradients=True).defaults["fused"]


def test_a_decay_in_images_does_not_depend_on_the_budget() -> None:
    decay = LinearDecay(images=1000)
    assert [decay(at(50, updates)) for updates in (50, 100, 1000)] == pytest.approx([0.5] * 3)


def test_beta2_follows_its_ramp_in_every_optimizer() -> None:
    factory = functools.partial(torch.optim.Adam, lr=0.1, betas=(0.0, 0.5))
    optim = Optim(generator=factory, beta2=CosineRamp(0.9, 0.99))
    optimizers = [make_optimizer(factory, [torch.nn.Parameter(torch.zeros(1))], scaled_gradients=False) for _ in "GD"]
    for update, beta2 in ((0, 0.9), (50, 0.945), (100, 0.99)):
        optim.set_rates(optimizers, at(update, 100))
        assert [o.param_groups[0]["betas"] for o in optimizers] == [(0.0, pytest.approx(beta2))] * 2


def test_beta2_is_for_adam() -> None:
    with pytest.raises(UserError, match=r"optim\.beta2 .* SGD has none"):
        Optim(generator=functools.partial(torch.optim.SGD, lr=0.1), beta2=0.9)


@pytest.mark.parametrize("interval", [4, 16])
def test_lazy_adam_moves_in_its_longer_period_as_adam_does_in_a_plain_one(interval: int) -> None:
    """k + 1 steps of a constant gradient move, and average what was before, as k steps of plain Adam do."""
    plain = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1, betas=(0.5, 0.9))
    lazy = LazyAdam([torch.nn.Parameter(torch.zeros(1))], lr=0.1, betas=(0.5, 0.9), interval=interval)
    for optimizer, steps in ((plain, interval), (lazy, interval + 1)):
        [parameter] = optimizer.param_groups[0]["params"]
        for _ in range(steps):
            parameter.grad = torch.ones(1)
            optimizer.step()
    [a], [b] = plain.param_groups[0]["params"], lazy.param_groups[0]["params"]
    torch.testing.assert_close(a, b)
    for moment in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(plain.state[a][moment], lazy.state[b][moment])


def test_whole_numbers_are_betas_too() -> None:
    factory = functools.partial(torch.optim.Adam, lr=0.1, betas=[0, 0.9])
    optimizer = make_optimizer(factory, [torch.nn.Parameter(torch.zeros(1))], scaled_gradients=False)
    assert optimizer.defaults["betas"] == (0.0, 0.9)
