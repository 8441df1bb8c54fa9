"""The average against a plain loop, and its half-life."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adversaria.callbacks import EMA
from adversaria.errors import UserError


class System(nn.Module):
    """Stands for a system with 10 images an update."""

    def __init__(self) -> None:
        super().__init__()
        self.sampler = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.images_seen = 0


def test_average_equals_a_plain_loop() -> None:
    ema, system = EMA(half_life=100, ramp_up=0.5), System()
    trainer: Any = SimpleNamespace(global_step=0)
    ema.on_fit_start(trainer, system)  # type: ignore[arg-type]
    expected = [p.detach().clone().double() for p in system.sampler.parameters()]
    for step in range(1, 40):
        for tensor in [*system.sampler.parameters(), system.sampler[1].running_mean]:
            tensor.data.normal_()
        system.images_seen, trainer.global_step = 10 * step, step
        ema.on_train_batch_end(trainer, system)
        keep = 0.5 ** (10 / min(100, 0.5 * 10 * step))
        expected = [
            keep * e + (1 - keep) * p.detach() for e, p in zip(expected, system.sampler.parameters(), strict=True)
        ]
    assert ema.network is not None
    for average, want in zip(ema.network.parameters(), expected, strict=True):
        torch.testing.assert_close(average.double(), want, rtol=1e-5, atol=1e-6)
        assert not average.requires_grad
    assert torch.equal(ema.network[1].running_mean, system.sampler[1].running_mean)  # type: ignore[index]


def test_after_one_half_life_half_of_the_start_is_left() -> None:
    ema = EMA(half_life=1000, ramp_up=None)
    assert ema.decay(10**9, 10) ** 100 == pytest.approx(0.5)


def test_ramp_up_bounds_the_half_life_by_a_share_of_what_was_seen() -> None:
    ema = EMA(half_life=1000, ramp_up=0.05)
    assert ema.decay(2000, 100) == pytest.approx(0.5)  # half-life 0.05 * 2000 = 100 images
    assert ema.decay(10**6, 1000) == pytest.approx(0.5)


@pytest.mark.parametrize("values", [{"half_life": 0}, {"ramp_up": -1.0}])
def test_bad_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"callbacks\.ema"):
        EMA(**values)
