"""The probe measures what its formulas say, and leaves networks and randomness as they were."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import config_of
from torch import Tensor, nn

from adversaria.core.types import DataSpec
from adversaria.health import Probe
from adversaria.health.probe import distances, overfitting, random_features, signals
from adversaria.modalities import Image, Points
from adversaria.objectives.logits import logit_summary
from adversaria.objectives.losses import AdversarialLoss
from adversaria.training.experiment import build_experiment

IMAGES = DataSpec((1, 16, 16), None, Image())
POINTS = DataSpec((2,), None, Points())
REAL, FAKE = torch.tensor([-3.0, 0.2, 1.5, 4.0]), torch.tensor([-5.0, -0.5, 0.4, 2.0])


@pytest.fixture(scope="module")
def loss_of() -> Callable[[str], AdversarialLoss]:
    from adversaria.config.build import construct

    return lambda name: construct(config_of(f"loss={name}")["loss"], "loss", [])


def mean(*parts: Tensor) -> float:
    return float(torch.cat(parts).mean())


# What an undecided D gets: derivatives of 1/2 for each sigmoid, 1 for each hinge and critic, 2 (x - target) / 2 for
# least squares with the targets 1 and 0.
CLOSED_FORMS: dict[str, tuple[float, float]] = {
    "nonsaturating": (
        mean(torch.sigmoid(-REAL), torch.sigmoid(FAKE)) / 0.5,
        float(torch.sigmoid(-FAKE).mean()) / 0.5,
    ),
    "minimax": (
        mean(torch.sigmoid(-REAL), torch.sigmoid(FAKE)) / 0.5,
        float(torch.sigmoid(FAKE).mean()) / 0.5,
    ),
    "hinge": (mean((REAL < 1).float(), (FAKE > -1).float()), 1.0),
    "wasserstein": (1.0, 1.0),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_signals_of_each_loss_in_closed_form(loss_of: Callable[[str], AdversarialLoss], name: str) -> None:
    values = signals(loss_of(name), REAL, FAKE)
    d_signal, g_signal = CLOSED_FORMS[name]
    assert float(values["health/d_signal"]) == pytest.approx(d_signal, rel=1e-5)
    assert float(values["health/g_signal"]) == pytest.approx(g_signal, rel=1e-5)


@pytest.mark.parametrize("name", ["nonsaturating", "minimax", "hinge", "relativistic_pairing"])
def test_a_discriminator_without_doubts_has_no_signal_left(
    loss_of: Callable[[str], AdversarialLoss], name: str
) -> None:
    loss = loss_of(name)
    undecided = signals(loss, torch.zeros(4), torch.zeros(4))
    certain = signals(loss, torch.full((4,), 30.0), torch.full((4,), -30.0))
    assert float(undecided["health/d_signal"]) == pytest.approx(1)
    assert float(undecided["health/g_signal"]) == pytest.approx(1)
    assert float(certain["health/d_signal"]) < 1e-9
    saturates = name == "minimax"  # of these the only one whose G learns nothing from such a D
    assert (float(certain["health/g_signal"]) < 1e-9) == saturates


def test_overfitting_is_the_way_of_held_out_reals_towards_fakes() -> None:
    def of(real: float, held_out: float, fake: float) -> dict[str, float]:
        values = overfitting(torch.tensor(real), torch.tensor(held_out), torch.tensor(fake))
        return {name: float(value) for name, value in values.items()}

    assert of(4, 1, -2) == {"health/held_out_gap": 3, "health/overfitting": 0.5}
    assert of(4, 4, -2)["health/overfitting"] == 0
    assert of(4, -2, -2)["health/overfitting"] == 1
    assert of(1, 1, 1)["health/overfitting"] == 0  # and no division by zero


def test_logit_summary_counts_signs() -> None:
    values = {name: float(value) for name, value in logit_summary(REAL, FAKE).items()}
    assert values["logits/real_sign"] == pytest.approx((3 - 1) / 4)
    assert values["logits/accuracy"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert values["logits/gap"] == pytest.approx(0.675 + 0.775)
    assert values["logits/fake_std"] == pytest.approx(math.sqrt(((FAKE - FAKE.mean()) ** 2).mean().item()))


def test_distances_of_constructed_points() -> None:
    square = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    spread, nearest = distances(square)
    assert float(spread) == pytest.approx((3 + 4 + 5) / 3)
    assert float(nearest) == pytest.approx(3)
    spread, nearest = distances(torch.ones(5, 7))
    assert (float(spread), float(nearest)) == (0, 0)


def test_random_features_are_those_of_the_seed_and_draw_nothing() -> None:
    x = torch.rand(3, 1, 16, 16)
    before = torch.get_rng_state()
    a, b, c = (random_features(IMAGES, seed)(x) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)
    points = torch.rand(3, 2)
    assert torch.equal(random_features(POINTS, 1)(points), points)


def probed(*overrides: str) -> tuple[Probe, Any]:
    narrow = ("model.generator.width=8", "model.discriminator.width=8", "metrics=none")
    config = config_of("data=digits", "data.batch_size=8", "trainer.accelerator=cpu", *narrow, *overrides)
    experiment = build_experiment(config)
    probe = Probe(experiment.system, experiment.data, count=16, seed=3, device=torch.device("cpu"), dtype=torch.float32)
    return probe, experiment.system


@pytest.mark.parametrize(
    "overrides",
    [
        (),  # BatchNorm in both
        ("regulariser=spectral_norm", "model.discriminator.norm=none"),
        ("model.generator.conditional=true", "model.discriminator.conditional=true"),
    ],
    ids=["batch_norm", "spectral_norm", "conditional"],
)
def test_leaves_no_trace(overrides: tuple[str, ...]) -> None:
    probe, system = probed(*overrides)
    system.train()
    labels = torch.arange(4) if system.conditional else None
    system.discriminator(torch.rand(4, 1, 16, 16), labels).logits.sum().backward()
    modes = [module.training for module in system.modules()]
    state = {name: value.clone() for name, value in system.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in system.parameters()]
    random = torch.get_rng_state()
    first = probe(system)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(state[name], value) for name, value in system.state_dict().items())
    assert [module.training for module in system.modules()] == modes
    for parameter, gradient in zip(system.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    # The same samples every time, so the same values for the same networks.
    again = probe(system)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert all(math.isfinite(float(value)) for value in first.values())


class _Constant(nn.Module):
    latent_dim = 3

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full((len(z), 1, 16, 16), 0.3)


class _Reals(_Constant):
    """Gives the reals themselves."""

    def __init__(self, real: Tensor) -> None:
        super().__init__()
        self.real = real

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.real


class _Linear(nn.Module):
    """A discriminator of slope 2 everywhere that is 0 on black images."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        from adversaria.core.types import DiscriminatorOutput

        return DiscriminatorOutput(2 * x.flatten(1).sum(1) / math.sqrt(x[0].numel()))


def test_known_networks_give_known_values() -> None:
    probe, system = probed()
    system.discriminator = _Linear()
    system.generator = _Constant()
    constant = probe(system)
    assert float(constant["diversity/spread"]) == 0
    assert float(constant["diversity/nearest"]) == 0
    system.generator = _Reals(probe.real)
    reals = probe(system)
    assert float(reals["diversity/spread"]) == pytest.approx(1)
    assert float(reals["diversity/nearest"]) == pytest.approx(1)
    for values in (constant, reals):
        for place in ("real", "fake", "interpolated"):
            assert float(values[f"input_gradient/{place}"]) == pytest.approx(2, rel=1e-5)
    assert probe.held_out is not None
    train, held_out = (float(_Linear()(x).logits.mean()) for x in (probe.real, probe.held_out))
    assert float(reals["health/held_out_gap"]) == pytest.approx(train - held_out, abs=1e-5)


def test_held_out_reals_are_of_the_test_split() -> None:
    config = config_of("data=digits", "data.limit=20", "data.batch_size=8", "metrics=none", "trainer.accelerator=cpu")
    experiment = build_experiment(config)
    data = experiment.data
    probe = Probe(experiment.system, data, count=20, seed=3, device=torch.device("cpu"), dtype=torch.float32)

    def rows(split: Any, among: Tensor) -> int:
        samples = data.spec.modality.decode(data.split(split).batch(range(len(data.split(split)))).samples)
        return sum(bool((samples == row).flatten(1).all(1).any()) for row in among)

    assert probe.held_out is not None
    assert (rows("train", probe.real), rows("test", probe.held_out)) == (20, 20)
    assert rows("train", probe.held_out) == 0


def test_a_system_without_a_discriminator_has_diversity_alone() -> None:
    config = config_of(
        "model=vae",
        "data=digits",
        "metrics=none",
        "model.generator.width=8",
        "model.encoder.width=8",
        "trainer.accelerator=cpu",
    )
    experiment = build_experiment(config)
    probe = Probe(experiment.system, experiment.data, count=16, seed=0, device=torch.device("cpu"), dtype=torch.float32)
    assert set(probe(experiment.system)) == {"diversity/spread", "diversity/nearest"}
