"""The average against a plain loop, and its half-life."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import LinearRamp, Progress
from adversaria.training.callbacks import EMA, sampler_of
from adversaria.training.callbacks.ema import encoder_of


def at(update: int, per_update: int = 10) -> Progress:
    return Progress(update, 1000, update * per_update, 1000 * per_update)


class System(nn.Module):
    """Stands for a system with 10 images an update."""

    def __init__(self, encodes: bool = False) -> None:
        super().__init__()
        self.sampler = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.encoding = nn.Linear(2, 4) if encodes else None
        self.updates = 0

    def progress(self) -> Progress:
        return at(self.updates)


def test_average_equals_a_plain_loop() -> None:
    ema, system = EMA(half_life=100, ramp_up=0.5), System()
    trainer: Any = SimpleNamespace(global_step=0)
    ema.on_fit_start(trainer, system)
    expected = [p.detach().clone().double() for p in system.sampler.parameters()]
    for step in range(1, 40):
        for tensor in [*system.sampler.parameters(), system.sampler[1].running_mean]:
            tensor.data.normal_()
        system.updates = step
        ema.on_train_batch_end(trainer, system)
        keep = 0.5 ** (10 / min(100, 0.5 * 10 * step))
        expected = [
            keep * e + (1 - keep) * p.detach() for e, p in zip(expected, system.sampler.parameters(), strict=True)
        ]
    assert ema.network is not None
    for average, want in zip(ema.network.parameters(), expected, strict=True):
        torch.testing.assert_close(average.double(), want, rtol=1e-5, atol=1e-6)
        assert not average.requires_grad
    assert torch.equal(ema.network[1].running_mean, system.sampler[1].running_mean)


def test_an_encoder_is_averaged_as_the_sampler_is_and_saved_beside_it() -> None:
    ema, system = EMA(half_life=None, decay=0.75), System(encodes=True)
    assert system.encoding is not None
    trainer: Any = SimpleNamespace(global_step=0)
    ema.on_fit_start(trainer, system)
    start = system.encoding.weight.detach().clone()
    system.encoding.weight.data.normal_()
    system.updates = 1
    ema.on_train_batch_end(trainer, system)
    assert ema.encoder is not None
    expected = 0.75 * start + 0.25 * system.encoding.weight.detach()
    torch.testing.assert_close(ema.encoder.weight, expected)
    saved: dict[str, Any] = {}
    ema.on_save_checkpoint(trainer, system, saved)
    assert saved.keys() == {"ema", "ema_encoder"}
    again = EMA(half_life=None, decay=0.75)
    again.on_load_checkpoint(trainer, system, saved)
    again.on_fit_start(trainer, system)
    assert again.encoder is not None
    assert torch.equal(again.encoder.weight, ema.encoder.weight)
    assert encoder_of(SimpleNamespace(callbacks=[again])) is again.encoder


def test_after_one_half_life_half_of_the_start_is_left() -> None:
    ema = EMA(half_life=1000, ramp_up=None)
    assert ema.decay(at(10**8)) ** 100 == pytest.approx(0.5)


def test_ramp_up_bounds_the_half_life_by_a_share_of_what_was_seen() -> None:
    ema = EMA(half_life=1000, ramp_up=0.05)
    assert ema.decay(at(20, 100)) == pytest.approx(0.5)  # half-life 0.05 * 2000 = 100 images
    assert ema.decay(at(1000, 1000)) == pytest.approx(0.5)


def test_a_fixed_decay_begins_at_its_start() -> None:
    ema = EMA(half_life=None, decay=0.9999, start=1000)
    assert [ema.decay(at(update)) for update in (1, 1000, 1001)] == [0, 0, 0.9999]


def test_the_half_life_may_be_a_ramp_from_zero() -> None:
    ema = EMA(half_life=LinearRamp(0, 2000), ramp_up=None)
    assert ema.decay(at(0 + 1)) == pytest.approx(0.5 ** (10 / 2))
    assert ema.decay(at(1000)) == pytest.approx(0.5 ** (10 / 2000))
    assert EMA(half_life=LinearRamp(0, 0), ramp_up=None).decay(at(5)) == 0


@pytest.mark.parametrize(
    "values",
    [{"half_life": 0}, {"ramp_up": -1.0}, {"half_life": None}, {"decay": 0.9}, {"half_life": None, "decay": 1.0}],
)
def test_bad_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"callbacks\.ema"):
        EMA(**values)


def test_a_sampler_may_hold_several_networks() -> None:
    """Both directions of a translation, say: each is averaged, saved and restored."""
    system: Any = System()
    system.sampler = nn.ModuleDict(
        {"there": nn.Linear(2, 2), "back": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))}
    )
    trainer: Any = SimpleNamespace(global_step=0, callbacks=[], lightning_module=system)
    ema = EMA(half_life=None, decay=0.75)
    ema.on_fit_start(trainer, system)
    before = {name: value.clone() for name, value in system.sampler.state_dict().items()}
    for tensor in system.sampler.parameters():
        tensor.data.normal_()
    system.updates = 1
    ema.on_train_batch_end(trainer, system)
    assert isinstance(ema.network, nn.ModuleDict)
    for name, value in ema.network.named_parameters():
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * system.sampler.get_parameter(name))
    trainer.callbacks = [ema]
    assert sampler_of(trainer)["back"] is ema.network["back"]

    checkpoint: dict[str, Any] = {}
    ema.on_save_checkpoint(trainer, system, checkpoint)
    again = EMA(half_life=None, decay=0.75)
    again.on_load_checkpoint(trainer, system, checkpoint)
    again.on_fit_start(trainer, system)
    assert again.network is not None
    assert all(torch.equal(v, ema.network.state_dict()[n]) for n, v in again.network.state_dict().items())
