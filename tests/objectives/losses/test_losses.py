"""Every loss against its closed form, its gradient, and what its optimum means."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.objectives.losses import AdversarialLoss
from adversaria.objectives.losses import functional as F

D_LOSSES = [
    F.bce_d,
    F.least_squares_d,
    F.wasserstein_d,
    F.hinge_d,
    F.relativistic_pairing_d,
    F.relativistic_average_d,
]
G_LOSSES = [
    F.nonsaturating_g,
    F.minimax_g,
    F.least_squares_g,
    F.wasserstein_g,
    F.hinge_g,
    F.relativistic_pairing_g,
    F.relativistic_average_g,
]
RELATIVISTIC = [F.relativistic_pairing_d, F.relativistic_average_d]
RELATIVISTIC_G = [F.relativistic_pairing_g, F.relativistic_average_g]


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def s(t: float) -> float:
    return math.log1p(math.exp(t))


# Reals (2, -1), fakes (0.5, -3).
REAL, FAKE = (2.0, -1.0), (0.5, -3.0)
REAL_MEAN, FAKE_MEAN = 0.5, -1.25


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (F.bce_d, (-math.log(sigmoid(2)) - math.log(sigmoid(-1)) - math.log(sigmoid(-0.5)) - math.log(sigmoid(3))) / 2),
        (F.least_squares_d, (1 + 4 + 0.25 + 9) / 4),
        (F.wasserstein_d, -1.25 - 0.5),
        (F.hinge_d, (0 + 2 + 1.5 + 0) / 2),
        (F.relativistic_pairing_d, (s(0.5 - 2) + s(-3 + 1)) / 2),
        (F.relativistic_average_d, (s(-1.25 - 2) + s(-1.25 + 1) + s(0.5 - 0.5) + s(-3 - 0.5)) / 2),
    ],
)
def test_discriminator_loss_is_its_closed_form(loss, expected):
    assert loss(torch.tensor(REAL), torch.tensor(FAKE)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (F.nonsaturating_g, -(math.log(sigmoid(0.5)) + math.log(sigmoid(-3))) / 2),
        (F.minimax_g, (math.log(1 - sigmoid(0.5)) + math.log(1 - sigmoid(-3))) / 2),
        (F.least_squares_g, (0.25 + 16) / 4),
        (F.wasserstein_g, 1.25),
        (F.hinge_g, 1.25),
        (F.relativistic_pairing_g, (s(2 - 0.5) + s(-1 + 3)) / 2),
        (F.relativistic_average_g, (s(0.5 - 0.5) + s(0.5 + 3) + s(2 + 1.25) + s(-1 + 1.25)) / 2),
    ],
)
def test_generator_loss_is_its_closed_form(loss, expected):
    assert loss(torch.tensor(FAKE), torch.tensor(REAL)).item() == pytest.approx(expected, rel=1e-6)


def test_least_squares_targets_are_arguments():
    d_loss = functools.partial(F.least_squares_d, real_target=0.9, fake_target=-1.0)
    assert d_loss(torch.tensor([0.9]), torch.tensor([-1.0])).item() == pytest.approx(0.0, abs=1e-12)
    assert F.least_squares_g(torch.tensor([3.0]), target=1.0).item() == pytest.approx(2.0)


def test_generator_gradients_of_saturating_and_nonsaturating_loss():
    logit = torch.tensor([-6.0], dtype=torch.float64, requires_grad=True)  # D is sure that it is a fake
    (strong,) = torch.autograd.grad(F.nonsaturating_g(logit), logit)
    (weak,) = torch.autograd.grad(F.minimax_g(logit), logit)
    assert strong.item() == pytest.approx(-sigmoid(6.0))
    assert weak.item() == pytest.approx(-sigmoid(-6.0))


def test_hinge_gradient_is_zero_beyond_the_margin():
    real = torch.tensor([0.5, 1.5], requires_grad=True)
    fake = torch.tensor([-0.5, -1.5], requires_grad=True)
    real_gradient, fake_gradient = torch.autograd.grad(F.hinge_d(real, fake), [real, fake])
    assert real_gradient.tolist() == [-0.5, 0.0]
    assert fake_gradient.tolist() == [0.5, 0.0]


def test_the_optimal_logit_of_cross_entropy_is_the_log_density_ratio():
    # Where reals are three times as frequent as fakes, sigmoid(D) = 3/4 (Goodfellow et al. 2014, proposition 1).
    logit = torch.tensor(math.log(3.0), dtype=torch.float64, requires_grad=True)
    loss = 3 * F.bce_d(logit[None], torch.tensor([-1e3])) + F.bce_d(torch.tensor([1e3]), logit[None])
    (gradient,) = torch.autograd.grad(loss, logit)
    assert gradient.item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("loss", D_LOSSES)
def test_discriminator_minimises_by_raising_reals_and_lowering_fakes(loss):
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    real_gradient, fake_gradient = torch.autograd.grad(loss(real, fake), [real, fake], allow_unused=True)
    assert (real_gradient < 0).all()
    # At the target for fakes least squares is flat.
    assert (fake_gradient > 0).all() or loss is F.least_squares_d


@pytest.mark.parametrize("loss", G_LOSSES)
def test_generator_minimises_by_raising_fakes(loss):
    fake = torch.zeros(4, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(fake, torch.zeros(4)), fake)
    assert (gradient < 0).all()


@pytest.mark.parametrize("loss", RELATIVISTIC + RELATIVISTIC_G)
def test_relativistic_losses_know_only_differences(loss):
    a, b = torch.randn(2, 8, dtype=torch.float64)
    assert loss(a + 7, b + 7).item() == pytest.approx(loss(a, b).item(), rel=1e-12)


@pytest.mark.parametrize(("d_loss", "g_loss"), list(zip(RELATIVISTIC, RELATIVISTIC_G, strict=True)))
def test_relativistic_generator_loss_exchanges_the_roles(d_loss, g_loss):
    real, fake = torch.randn(2, 8, dtype=torch.float64)
    assert g_loss(fake, real).item() == pytest.approx(d_loss(fake, real).item(), rel=1e-12)


def test_relativistic_pairing_follows_the_order_of_the_batch():
    real, fake = torch.tensor([0.0, 5.0]), torch.tensor([0.0, 5.0])
    assert F.relativistic_pairing_d(real, fake).item() == pytest.approx(math.log(2))
    assert F.relativistic_pairing_d(real, fake.flip(0)).item() > 2


@pytest.mark.parametrize("loss", [F.relativistic_pairing_d, F.relativistic_pairing_g])
def test_relativistic_pairing_refuses_batches_of_unequal_size(loss):
    with pytest.raises(UserError, match="generator_batch"):
        loss(torch.zeros(4), torch.zeros(3))


@pytest.mark.parametrize("loss", RELATIVISTIC_G)
def test_relativistic_generator_loss_needs_reals(loss):
    with pytest.raises(ValueError, match="needs_real_logits"):
        loss(torch.zeros(4), None)


def test_relativistic_average_takes_batches_of_unequal_size():
    assert F.relativistic_average_d(torch.zeros(4), torch.zeros(3)).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("loss", D_LOSSES + G_LOSSES)
def test_patches_are_averaged(loss):
    a, b = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    assert loss(a, b).shape == ()
    assert loss(a, b).item() == pytest.approx(loss(a.flatten(), b.flatten()).item(), rel=1e-12)


@pytest.mark.parametrize("loss", D_LOSSES + G_LOSSES)
def test_half_precision_logits_give_the_float32_loss(loss):
    a, b = torch.randn(2, 64).bfloat16()
    assert loss(a, b).dtype == torch.float32
    assert torch.equal(loss(a, b), loss(a.float(), b.float()))


@pytest.mark.parametrize("loss", D_LOSSES + G_LOSSES)
def test_extreme_logits_stay_finite(loss):
    a = torch.tensor([1e4, -1e4], requires_grad=True)
    b = torch.tensor([-1e4, 1e4], requires_grad=True)
    value = loss(a, b)
    value.backward()
    assert value.isfinite()
    assert all(t.grad is None or t.grad.isfinite().all() for t in (a, b))


def test_adversarial_loss_holds_two_functions():
    loss = AdversarialLoss(d_loss=functools.partial(F.hinge_d), g_loss=functools.partial(F.hinge_g))
    assert not loss.needs_real_logits
    assert loss.d_loss(torch.zeros(1), torch.zeros(1)).item() == 2.0
    assert loss.g_loss(torch.ones(1), None).item() == -1.0
