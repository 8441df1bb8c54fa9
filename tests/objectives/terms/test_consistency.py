"""Consistency under flips and shifts, for discriminators whose logits after them are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import LinearRamp, Progress
from adversaria.core.types import DataSpec, DiscriminatorOutput, Step, Term
from adversaria.modalities import Image, Points
from adversaria.objectives.augment import Identity
from adversaria.objectives.terms import Consistency
from adversaria.objectives.terms.consistency import flipped_and_shifted

SPEC = DataSpec((2, 16, 24), None, Image())


class Largest(nn.Module):
    """The largest value and, with labels, their share of it: no flip or shift by a few pixels moves it."""

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))
        self.labels: list[Tensor | None] = []

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        self.labels.append(labels)
        ramp = torch.arange(x.shape[-1], dtype=x.dtype)
        return DiscriminatorOutput(x.amax((1, 2, 3)) + self.slope * (x * ramp).sum((1, 2, 3)))


def dots(n: int) -> Tensor:
    """One bright pixel each, in the middle, left of the centre."""
    x = torch.zeros(n, 2, 16, 24)
    x[:, :, 8, 10] = 1
    return x


def make_step(discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> Step:
    fake_labels = None if labels is None else labels.flip(0)
    return Step(
        generator=nn.Identity(),
        discriminator=discriminator,
        augment=Identity(spec=SPEC),
        real=real,
        fake=fake,
        real_labels=labels,
        fake_labels=fake_labels,
        latents=torch.zeros(len(fake), 1),
        real_output=discriminator(real, labels),
        fake_output=discriminator(fake, fake_labels),
        progress=Progress(0, 1, 0, 1),
    )


def test_half_is_mirrored_and_all_are_shifted_with_reflection():
    x = torch.randn(400, 2, 16, 24)
    out = flipped_and_shifted(x)
    found = {}
    for mirror in (False, True):
        padded = nn.functional.pad(x.flip(-1) if mirror else x, (4, 4, 4, 4), mode="reflect")
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                candidate = padded[:, :, 4 + dy : 20 + dy, 4 + dx : 28 + dx]
                for n in (candidate == out).flatten(1).all(1).nonzero().flatten().tolist():
                    found[n] = (mirror, dy, dx)
    assert set(found) == set(range(400))
    mirrored, rows, columns = zip(*found.values(), strict=True)
    assert sum(mirrored) / 400 == pytest.approx(0.5, abs=0.1)
    assert set(rows) == set(range(-2, 3))
    assert set(columns) == set(range(-3, 4))


def test_is_a_term_of_the_discriminator():
    assert isinstance(Consistency(), Term)
    assert Consistency().applies_to == "discriminator"
    Consistency(weight=LinearRamp(start=0.0, end=1.0))


def test_an_invariant_discriminator_costs_nothing():
    term = Consistency(fakes=1.0)
    assert term(make_step(Largest(), dots(20), 0.5 * dots(20))).item() == 0.0


def test_a_shift_costs_its_square_on_reals_alone():
    # The dot of two channels moves from column 10 to 10 + s, or to 13 + s if mirrored, and s is uniform in -3 .. 3.
    step = make_step(Largest(slope=0.5), dots(8_000), 2 * dots(8_000))
    expected = (4 + (4 + 9)) / 2  # E[s^2] = 4; slope * 2 channels = 1
    assert Consistency()(step).item() == pytest.approx(expected, rel=0.04)


def test_fakes_count_with_a_weight_of_their_own():
    step = make_step(Largest(slope=0.5), dots(8_000), 2 * dots(8_000))
    expected = 8.5 + 0.5 * 4 * 8.5  # fakes twice as bright
    assert Consistency(fakes=0.5)(step).item() == pytest.approx(expected, rel=0.04)


def test_both_sides_carry_gradients():
    # The difference is linear in the slope, so that its square has the gradient 2 / slope times itself.
    network = Largest(slope=0.5)
    step = make_step(network, dots(500), dots(500))
    torch.manual_seed(1)
    value = Consistency()(step)
    (gradient,) = torch.autograd.grad(value, network.slope)
    assert gradient.item() == pytest.approx(2 * value.item() / 0.5, rel=1e-4)


def test_labels_go_with_their_samples():
    network, labels = Largest(), torch.arange(6)
    step = make_step(network, dots(6), dots(6), labels)
    network.labels.clear()
    Consistency(fakes=1.0)(step)
    assert [seen.tolist() for seen in network.labels] == [labels.tolist(), labels.flip(0).tolist()]


def test_half_precision_logits_give_a_float32_term():
    step = make_step(Largest().bfloat16(), dots(4).bfloat16(), dots(4).bfloat16())
    assert Consistency()(step).dtype == torch.float32


@pytest.mark.parametrize(("field", "value"), [("weight", -1.0), ("fakes", -0.5), ("interval", 0)])
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=rf"regulariser\.consistency\.{field}={value}"):
        Consistency(**{field: value})


def test_points_are_refused():
    points = SimpleNamespace(spec=DataSpec((2,), None, Points()))
    with pytest.raises(UserError, match="regulariser=none"):
        Consistency().check(points)
    Consistency().check(SimpleNamespace(spec=SPEC))
