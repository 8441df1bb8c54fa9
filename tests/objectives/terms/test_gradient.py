"""Gradient penalties of linear and quadratic discriminators against their analytic values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec, DiscriminatorOutput, Step, Term
from adversaria.modalities import Points
from adversaria.objectives.augment import Identity
from adversaria.objectives.terms import DRAGAN, R1, R2, GradientPenalty

SPEC = DataSpec((3,), None, Points())
TERMS = [R1(), R2(), GradientPenalty(), GradientPenalty(one_sided=True, target=0.1), DRAGAN()]


def ids(term):
    return type(term).__name__


class Linear(nn.Module):
    """w.x, of gradient w."""

    def __init__(self, w: list[float]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        return DiscriminatorOutput(x @ self.w)


class Quadratic(nn.Module):
    """x.A.x, of gradient (A + A^T) x."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(a)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        return DiscriminatorOutput(torch.einsum("ni,ij,nj->n", x, self.a, x))


class Smooth(nn.Module):
    """A tanh network with labels, whose second derivatives are not zero, and two patches per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.embedding = nn.Linear(3, 8), nn.Linear(8, 2), nn.Embedding(4, 8)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        h = self.inner(x) if labels is None else self.inner(x) + self.embedding(labels)
        return DiscriminatorOutput(self.outer(h.tanh()))


def make_step(discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None = None, augment=None) -> Step:
    return Step(
        generator=nn.Identity(),
        discriminator=discriminator,
        augment=augment or Identity(spec=SPEC),
        real=real,
        fake=fake,
        real_labels=labels,
        fake_labels=None if labels is None else labels.flip(0)[: len(fake)],
        latents=torch.zeros(len(fake), 1),
        real_output=None,
        fake_output=DiscriminatorOutput(torch.zeros(len(fake))),
        progress=Progress(0, 1, 0, 1),
    )


def random_step(discriminator: nn.Module, **keywords) -> Step:
    torch.manual_seed(0)
    return make_step(discriminator, torch.randn(6, 3), torch.randn(6, 3) + 2, **keywords)


@pytest.mark.parametrize("term", TERMS, ids=ids)
def test_is_a_term_of_the_discriminator(term):
    assert isinstance(term, Term)
    assert term.applies_to == "discriminator"


@pytest.mark.parametrize("term", [R1(), R2()], ids=ids)
def test_squared_gradient_of_a_linear_discriminator(term):
    assert term(random_step(Linear([3.0, 0.0, -4.0]))).item() == pytest.approx(12.5)  # 25 / 2


@pytest.mark.parametrize(
    ("term", "w", "expected"),
    [
        (GradientPenalty(), [3.0, 0.0, -4.0], 16.0),
        (GradientPenalty(), [0.3, 0.0, -0.4], 0.25),
        (GradientPenalty(target=0.0), [0.3, 0.0, -0.4], 0.25),
        (GradientPenalty(target=5.0), [3.0, 0.0, -4.0], 0.0),
        (GradientPenalty(one_sided=True), [3.0, 0.0, -4.0], 16.0),
        (GradientPenalty(one_sided=True), [0.3, 0.0, -0.4], 0.0),
        (DRAGAN(), [3.0, 0.0, -4.0], 16.0),
        (DRAGAN(), [0.3, 0.0, -0.4], 0.25),
        (DRAGAN(target=2.0), [3.0, 0.0, -4.0], 9.0),
    ],
)
def test_gradient_norm_of_a_linear_discriminator(term, w, expected):
    assert term(random_step(Linear(w))).item() == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_r1_looks_at_reals_and_r2_at_fakes():
    a = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
    step = random_step(Quadratic(a))
    for term, x in ((R1(), step.real), (R2(), step.fake)):
        expected = 0.5 * (x @ (a + a.T)).square().sum(1).mean()
        assert term(step).item() == pytest.approx(expected.item(), rel=1e-5)


def test_gradient_penalty_lies_between_reals_and_fakes():
    # ||x||^2 / 2 has gradient x: reals 1 and fakes 3 on one axis give norms uniform in [1, 3].
    n = 20_000
    real, fake = torch.tensor([[1.0, 0.0, 0.0]]).repeat(n, 1), torch.tensor([[3.0, 0.0, 0.0]]).repeat(n, 1)
    step = make_step(Quadratic(torch.eye(3) / 2), real, fake)
    torch.manual_seed(0)
    assert GradientPenalty(target=0.0)(step).item() == pytest.approx(13 / 3, rel=0.02)  # E[U^2], U in [1, 3]
    assert GradientPenalty(target=3.0, one_sided=True)(step).item() == 0.0
    assert GradientPenalty(target=1.0, one_sided=True)(step).item() == pytest.approx(4 / 3, rel=0.03)


def test_gradient_penalty_cuts_the_longer_batch():
    torch.manual_seed(0)
    real, fake, labels = torch.randn(6, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 3, 0, 1])
    network = Smooth()
    for step in (make_step(network, real, fake, labels), make_step(network, real[:4], fake, labels[:4])):
        torch.manual_seed(1)
        value = GradientPenalty()(step)
        torch.manual_seed(1)
        assert torch.equal(value, GradientPenalty()(make_step(network, real[:4], fake, labels[:4])))


def test_dragan_stays_within_half_a_standard_deviation_of_reals():
    torch.manual_seed(0)
    real = torch.randn(5_000, 3)
    seen: list[Tensor] = []

    class Recorder(Linear):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
            seen.append(x.detach())
            return super().forward(x, labels)

    DRAGAN()(make_step(Recorder([1.0, 0.0, 0.0]), real, real))
    distance = (seen[0] - real) / real.std()
    assert distance.min() >= 0
    assert distance.max() <= 0.5
    assert distance.mean().item() == pytest.approx(0.125, rel=0.03)  # E[alpha] E[u] / 2
    # One place per sample on its line, not one for all: the largest steps of samples differ.
    assert distance.amax(dim=1).std() > 0.05


def test_patches_count_as_their_mean():
    class Patches(Linear):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
            return DiscriminatorOutput(torch.stack([x @ self.w, 3 * (x @ self.w)], 1)[:, :, None])

    assert R1()(random_step(Patches([1.0, 0.0, 0.0]))).item() == pytest.approx(2.0)  # mean logit 2 w.x


def test_labels_reach_the_discriminator():
    step = random_step(Smooth(), labels=torch.tensor([0, 1, 2, 3, 0, 1]))
    unlabelled = random_step(step.discriminator)
    for term in (R1(), R2()):
        assert term(step).item() != pytest.approx(term(unlabelled).item(), rel=1e-3)


def test_the_gradient_is_that_of_samples_before_augmentation():
    class Halve(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    assert R1()(random_step(Linear([3.0, 0.0, -4.0]), augment=Halve())).item() == pytest.approx(12.5 / 4)


@pytest.mark.parametrize("term", TERMS, ids=ids)
@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 2, 3, 0, 1])], ids=["unlabelled", "labelled"])
def test_double_backward_agrees_with_finite_differences(term, labels):
    step = random_step(Smooth().double(), labels=labels)
    step.real, step.fake = step.real.double(), step.fake.double()
    parameters = [p for p in step.discriminator.parameters() if p is not step.discriminator.outer.bias]

    def value() -> Tensor:
        torch.manual_seed(1)
        return term(step)

    gradients = torch.autograd.grad(value(), parameters, allow_unused=True)
    assert any(g is not None and g.abs().max() > 1e-4 for g in gradients)
    eps = 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter.add_(eps * direction)
            above = value().item()
            parameter.sub_(2 * eps * direction)
            below = value().item()
            parameter.add_(eps * direction)
        expected = 0.0 if gradient is None else (gradient * direction).sum().item()
        assert (above - below) / (2 * eps) == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("term", TERMS, ids=ids)
def test_autocast_changes_nothing(term):
    step = random_step(Smooth())
    torch.manual_seed(1)
    expected = term(step)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        value = term(step)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@pytest.mark.parametrize("term", TERMS, ids=ids)
def test_half_precision_samples_are_lifted_to_float32(term):
    step = random_step(Smooth())
    step.real, step.fake = step.real.bfloat16(), step.fake.bfloat16()
    assert term(step).dtype == torch.float32


@pytest.mark.parametrize("term", TERMS, ids=ids)
def test_a_constant_discriminator_gives_finite_gradients(term):
    step = random_step(Linear([0.0, 0.0, 0.0]))  # a norm of zero has no derivative
    term(step).backward()
    assert step.discriminator.w.grad.isfinite().all()


@pytest.mark.parametrize("term", TERMS, ids=ids)
def test_fakes_get_no_gradient(term):
    step = random_step(Smooth())
    step.fake.requires_grad_(True)
    term(step).backward()
    assert step.fake.grad is None


@pytest.mark.parametrize("kind", [R1, R2, GradientPenalty, DRAGAN])
@pytest.mark.parametrize(
    ("field", "value"), [("weight", -1.0), ("weight", math.nan), ("interval", 0), ("interval", -3)]
)
def test_values_out_of_range_are_refused(kind, field, value):
    with pytest.raises(UserError, match=rf"regulariser\.\w+\.{field}={value}"):
        kind(**{field: value})


@pytest.mark.parametrize("kind", [GradientPenalty, DRAGAN])
def test_a_negative_target_is_refused(kind):
    with pytest.raises(UserError, match=r"target=-1"):
        kind(target=-1.0)
