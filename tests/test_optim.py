"""Schedules as functions of the share of the budget, and optimizer settings that are refused."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from adversaria.errors import UserError
from adversaria.optim import Constant, CosineDecay, LinearDecay, Optim, make_optimizer


def test_schedules_at_known_points() -> None:
    linear, cosine = LinearDecay(start=0.5, final=0.1), CosineDecay()
    assert [linear(u, 100) for u in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.55, 0.1])
    assert [cosine(u, 100) for u in (0, 25, 50, 100)] == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, 0])


def test_warm_up_is_linear_and_multiplies_the_decay() -> None:
    assert [Constant(warmup=4)(u, 100) for u in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert LinearDecay(warmup=4)(1, 10) == pytest.approx(0.5 * 0.9)


def test_rates_follow_the_schedule_from_the_initial_rate() -> None:
    factory = functools.partial(torch.optim.SGD, lr=0.1)
    optim = Optim(generator=factory, schedule=LinearDecay())
    optimizer = make_optimizer(factory, [torch.nn.Parameter(torch.zeros(1))], scaled_gradients=False)
    for update in (5, 9, 0):  # in any order: nothing accumulates
        optim.set_rates([optimizer], update, 10)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * (1 - update / 10))


@pytest.mark.parametrize(
    ("field", "value"), [("n_critic", 0), ("accumulate", 0), ("generator_batch", -1), ("clip_norm", 0.0)]
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"optim\.{field}={value}"):
        Optim(generator=functools.partial(torch.optim.SGD, lr=0.1), **{field: value})


def test_an_optimizer_that_refuses_its_settings_says_so() -> None:
    with pytest.raises(UserError, match="learning rate"):
        make_optimizer(functools.partial(torch.optim.Adam, lr=-1.0), [torch.zeros(1)], scaled_gradients=False)


def test_fused_step_gives_way_to_the_gradient_scaler() -> None:
    factory = functools.partial(torch.optim.Adam, lr=0.1, fused=True)
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    assert make_optimizer(factory, parameters, scaled_gradients=False).defaults["fused"]
    assert not make_optimizer(factory, parameters, scaled_gradients=True).defaults["fused"]
