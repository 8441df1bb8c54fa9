from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec, DiscriminatorOutput, Step, Term
from adversaria.modalities import Points
from adversaria.objectives.augment import Identity
from adversaria.objectives.terms import LeCam


def make_step(real: Tensor, fake: Tensor, update: int = 0) -> Step:
    return Step(
        generator=nn.Identity(),
        discriminator=nn.Identity(),
        augment=Identity(spec=DataSpec((1,), None, Points())),
        real=real,
        fake=fake,
        real_labels=None,
        fake_labels=None,
        latents=fake,
        real_output=DiscriminatorOutput(real),
        fake_output=DiscriminatorOutput(fake),
        progress=Progress(update, 10_000, 0, 1),
    )


def step_of(real: list[float], fake: list[float], update: int = 0) -> Step:
    return make_step(torch.tensor(real, requires_grad=True), torch.tensor(fake), update)


def test_is_a_term_of_the_discriminator():
    assert isinstance(LeCam(), Term)
    assert LeCam().applies_to == "discriminator"


def test_value_with_averages_of_one_batch():
    # a_R = 2, a_F = -1: reals lie 2 and 4 above a_F, fakes 4 and 2 below a_R
    value = LeCam(start=0)(step_of([1.0, 3.0], [-2.0, 0.0]))
    assert value.item() == pytest.approx((4 + 16) / 2 + (16 + 4) / 2)


def test_only_reals_above_and_fakes_below_count():
    # a_R = -1, a_F = 1
    value = LeCam(start=0)(step_of([-4.0, 2.0], [3.0, -1.0]))
    assert value.item() == pytest.approx((0 + 1) / 2 + (0 + 0) / 2)


def test_averages_decay_and_take_in_the_batch_before_they_are_used():
    term = LeCam(start=0, decay=0.75)
    term(step_of([4.0], [0.0]))
    value = term(step_of([8.0], [-4.0]))
    # a_R = 0.75 * 4 + 0.25 * 8 = 5, a_F = -1
    assert term.averages.tolist() == pytest.approx([5.0, -1.0])
    assert value.item() == pytest.approx((8 + 1) ** 2 + (5 + 4) ** 2)


def test_nothing_counts_before_the_start_and_averages_are_those_of_the_last_batch():
    term = LeCam(start=2, decay=0.5)
    for update in (0, 1):
        step = step_of([4.0 * update], [-1.0], update)
        value = term(step)
        assert value.item() == 0.0
        value.backward()  # a term without a gradient could not take a step of its own
        assert term.averages.tolist() == [4.0 * update, -1.0]
    assert term(step_of([8.0], [-1.0], 2)).item() == pytest.approx(9**2 + 7**2)  # a_R = 6


def test_averages_carry_no_gradient():
    real = torch.tensor([2.0], requires_grad=True)
    LeCam(start=0)(make_step(real, torch.tensor([-1.0]))).backward()
    assert real.grad.item() == pytest.approx(2 * 3)


def test_the_state_continues_after_a_resume():
    term, resumed = LeCam(start=0), LeCam(start=0)
    term(step_of([4.0], [0.0]))
    resumed.load_state_dict(copy.deepcopy(term.state_dict()))
    step = step_of([-1.0], [2.0], 5)
    assert torch.equal(term(step), resumed(step))
    assert torch.equal(term.averages, resumed.averages)


def test_ranks_share_their_averages(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums: sums.add_(torch.tensor([6.0, -3.0, 1.0])))
    term = LeCam(start=0)
    term(step_of([2.0], [1.0]))
    assert term.averages.tolist() == [4.0, -1.0]


def test_half_precision_logits_give_a_float32_term():
    assert LeCam()(make_step(torch.ones(4).bfloat16(), torch.ones(4).bfloat16())).dtype == torch.float32


@pytest.mark.parametrize(
    ("field", "value"), [("weight", -1.0), ("interval", 0), ("decay", 1.0), ("decay", -0.1), ("start", -1)]
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=rf"regulariser\.lecam\.{field}={value}"):
        LeCam(**{field: value})
