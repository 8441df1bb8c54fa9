"""How ADA's probability is controlled: its rule, its state, its bounds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.schedules import LinearRamp, Progress
from adversaria.core.types import DataSpec
from adversaria.modalities import Image, Points
from adversaria.objectives.augment import ADA


def spec(channels: int = 3, height: int = 16, width: int = 16) -> DataSpec:
    return DataSpec((channels, height, width), None, Image())


# The control of p


def logits(positive: int, count: int = 10) -> Tensor:
    """``count`` logits of which ``positive`` are above 0."""
    return torch.where(torch.arange(count) < positive, 3.0, -0.2)


@pytest.mark.parametrize(("positive", "direction"), [(10, 1), (9, 1), (7, -1), (0, -1)])  # r_t: 1, 0.8, 0.4, -1
def test_p_follows_the_sign_of_r_t_less_the_target(positive, direction):
    module = ADA(spec=spec(), p=0.5, images=1_000)
    for step in range(1, 13):
        module.observe(logits(positive))
        # 4 steps of 10 images of 1,000
        assert module.p.item() == pytest.approx(0.5 + direction * 0.04 * (step // 4), abs=1e-6)
    assert module.r_t.item() == pytest.approx(positive / 5 - 1)


def test_r_t_is_the_mean_over_the_interval():
    module = ADA(spec=spec(), p=0.5, interval=2, images=100)
    module.observe(logits(10))
    module.observe(logits(2))  # signs: 1, then -0.6; the mean is 0.2
    assert module.r_t.item() == pytest.approx(0.2)
    assert module.p.item() == pytest.approx(0.3)


def test_p_stays_between_0_and_1():
    module = ADA(spec=spec(), interval=1, images=15)
    module.observe(logits(0))
    assert module.p.item() == 0.0
    for _ in range(4):
        module.observe(logits(10))
    assert module.p.item() == 1.0
    module.observe(logits(0))
    assert module.p.item() == pytest.approx(1 / 3)


def test_patches_of_a_sample_count_as_one_image():
    module = ADA(spec=spec(), interval=1, images=100)
    module.observe(torch.ones(10, 1, 4, 4))
    assert module.p.item() == pytest.approx(0.1)


def test_the_state_continues_after_a_resume():
    module = ADA(spec=spec(), p=0.5, images=1_000)
    for positive in (10, 9, 0):
        module.observe(logits(positive))
    resumed = ADA(spec=spec(), p=0.0, images=1_000)
    resumed.load_state_dict(copy.deepcopy(module.state_dict()))
    for positive in (9, 10, 10, 1, 0):
        module.observe(logits(positive))
        resumed.observe(logits(positive))
    assert module.p.item() != 0.5
    for name, value in module.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_ranks_add_up_their_statistics(monkeypatch):
    """Another rank saw as many reals, all of negative sign."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda seen: seen.add_(torch.tensor([-10.0, 10.0])))
    module = ADA(spec=spec(), p=0.5, interval=1, images=100)
    module.observe(logits(10))
    assert module.r_t.item() == 0.0
    assert module.p.item() == pytest.approx(0.3)  # 20 images of 100


def test_p_follows_its_ramp():
    module = ADA(spec=spec(), target=None, p=LinearRamp(start=0.0, end=0.5, images=1_000))
    for shown, p in ((0, 0.0), (400, 0.2), (1_000, 0.5), (2_000, 0.5)):
        module.begin_step(Progress(update=1, updates=10, images=shown, total_images=5_000))
        assert module.p.item() == pytest.approx(p)
        module.observe(logits(10))
        assert module.p.item() == pytest.approx(p)


def test_begin_step_leaves_an_adapted_p():
    module = ADA(spec=spec(), p=0.5, interval=1, images=100)
    module.observe(logits(10))
    module.begin_step(Progress(update=1, updates=10, images=10, total_images=100))
    assert module.values()["augment/p"].item() == pytest.approx(0.6)
    assert module.values()["augment/r_t"].item() == 1.0


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"target": 1.5}, r"augment\.target=1\.5"),
        ({"p": 2.0}, r"augment\.p=2\.0"),
        ({"p": LinearRamp(start=0.0, end=1.0)}, r"set augment\.target=null"),
        ({"interval": 0}, r"augment\.interval=0"),
        ({"images": 0}, r"augment\.images=0"),
        ({"hue": -0.5}, r"augment\.hue=-0\.5"),
        ({"noise": 1.5}, r"augment\.noise=1\.5"),
    ],
)
def test_values_out_of_range_are_refused(keywords, message):
    with pytest.raises(UserError, match=message):
        ADA(spec=spec(), **keywords)


def test_data_that_cannot_be_augmented_is_refused():
    with pytest.raises(UserError, match="augment=none"):
        ADA(spec=DataSpec((2,), None, Points()))
    with pytest.raises(UserError, match=r"augment\.rotate90=0"):
        ADA(spec=spec(3, 16, 20))
