"""The Dirac-GAN: training does what the closed form says, and that says what the paper does."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import STUDIES, config_of
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from scipy.integrate import quad, solve_ivp

import adversaria
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment, train
from studies import CONF
from studies.dirac.theory import LOSSES, DiracGAN, observed_rate, of_config, of_loss

EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("dirac_*.yaml"))
SMOOTH = [name for name in EXPERIMENTS if name != "dirac_wgan_gp"]
RATE = 0.1


class Recorder(Callback):
    """theta and psi before the first update and after each."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._record(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self._record(pl_module)

    def _record(self, gan: Any) -> None:
        self.points.append((gan.generator.theta.item(), gan.discriminator.psi.item()))


def trained(folder: Path, *overrides: str) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """The config and the trajectory of a run, ``[steps + 1, 2]``."""
    config = config_of(*overrides, "logger=none", *STUDIES)
    experiment = build_experiment(config)
    recorder = Recorder()
    experiment.callbacks.append(recorder)
    run = Run(folder)
    with run.started({k: v for k, v in config.items() if k != "trust"}, list(overrides)):
        assert train(experiment, run)["status"] == "finished"
    return config, np.array(recorder.points)


def game_of(name: str) -> DiracGAN:
    return of_config(config_of(f"experiment={name}", *STUDIES))


def numerical_jacobian(function: Callable[[Any], Any], size: float = 1e-5) -> np.ndarray[Any, Any]:
    """By central differences at the equilibrium, ``[2, 2]``."""
    columns = [(np.array(function(size * e)) - np.array(function(-size * e))) / (2 * size) for e in np.eye(2)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_training_follows_the_closed_form(name: str, tmp_path: Path) -> None:
    config, path = trained(tmp_path / "run", f"experiment={name}", "trainer.max_steps=200")
    assert {config["optim"][network]["lr"] for network in ("generator", "discriminator")} == {RATE}
    expected = of_config(config).trajectory(1.0, 1.0, RATE, 200)
    assert path.shape == (201, 2)
    np.testing.assert_allclose(path, expected, rtol=0, atol=1e-12)


def test_the_closed_form_holds_for_other_starts_several_samples_and_both_penalties(tmp_path: Path) -> None:
    overrides = [
        "model=dirac",
        "regulariser=[r1,r2,expected_instance_noise]",
        "loss=nonsaturating",
        "data.batch_size=3",
    ]
    overrides += [
        "regulariser.expected_instance_noise_d.sigma=0.5",
        "regulariser.r1.weight=0.5",
        "regulariser.r2.weight=0.25",
    ]
    overrides += ["model.generator.theta=-0.5", "model.discriminator.psi=2", "trainer.max_steps=50"]
    config, path = trained(tmp_path / "run", *overrides)
    game = of_config(config)
    assert (game.gamma, game.sigma) == (0.75, 0.5)
    np.testing.assert_allclose(path, game.trajectory(-0.5, 2.0, RATE, 50), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_field_is_the_gradient_of_the_losses(loss: str) -> None:
    """Of the losses themselves, by autograd, with the noise integrated adaptively instead of by quadrature nodes."""
    config = config_of(f"loss={loss}")["loss"]
    d_loss, g_loss = (_function(config[name]["_target_"]) for name in ("d_loss", "g_loss"))
    game = of_loss(loss, gamma=0.7, sigma=0.8, gradient_penalty=0.3)
    for theta, psi in ((0.9, -1.3), (-0.4, 0.2)):

        def slope(e: float, of_d: bool, theta: float = theta, psi: float = psi) -> float:
            t, p = (torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in (theta, psi))
            noise = 0.8 * e
            value = d_loss(p * noise, p * (t + noise)) if of_d else g_loss(p * (t + noise), None)
            (gradient,) = torch.autograd.grad(value, p if of_d else t)
            return -gradient.item() * math.exp(-(e**2) / 2) / math.sqrt(2 * math.pi)

        field_d, field_g = (quad(partial(slope, of_d=of_d), -9, 9, epsabs=1e-10)[0] for of_d in (True, False))
        p = torch.tensor(psi, dtype=torch.float64, requires_grad=True)
        penalty = 0.7 / 2 * p**2 + 0.3 * (p.abs() - 1) ** 2
        (gradient,) = torch.autograd.grad(penalty, p)
        assert game.generator_field(theta, psi) == pytest.approx(field_g, abs=1e-9)
        assert game.discriminator_field(theta, psi) == pytest.approx(field_d - gradient.item(), abs=1e-9)


def _function(target: str) -> Callable[..., torch.Tensor]:
    module, name = target.rsplit(".", 1)
    function: Callable[..., torch.Tensor] = getattr(__import__(module, fromlist=[name]), name)
    return function


@pytest.mark.parametrize("name", SMOOTH)
def test_jacobians_and_eigenvalues_agree_with_numerical_ones(name: str) -> None:
    game = game_of(name)
    field = numerical_jacobian(lambda x: (game.generator_field(*x), game.discriminator_field(*x)))
    step = numerical_jacobian(lambda x: game.step(x[0], x[1], RATE))
    for ours, numerical, values in (
        (game.jacobian(), field, game.eigenvalues()),
        (game.map_jacobian(RATE), step, game.eigenvalues(RATE)),
    ):
        np.testing.assert_allclose(ours, numerical, atol=1e-8)
        np.testing.assert_allclose(np.sort_complex(values), np.sort_complex(np.linalg.eigvals(ours)), atol=1e-8)


@pytest.mark.parametrize("name", ["dirac_instance_noise", "dirac_r1", "dirac_r2"])
def test_regularised_training_converges_at_the_predicted_rate(name: str) -> None:
    game = game_of(name)
    assert game.eigenvalues().real.max() < 0
    assert game.rate(RATE) < 1
    path = game.trajectory(1.0, 1.0, RATE, 1000)
    assert observed_rate(path) == pytest.approx(game.rate(RATE), abs=3e-4)


def test_unregularised_training_circles() -> None:
    """Lemmas 2.2 and 2.3: the eigenvalues are +-i f'(0), f'(0) = 1/2, and theta^2 + psi^2 is constant."""
    game = of_loss("minimax")
    np.testing.assert_allclose(np.sort_complex(game.eigenvalues()), [-0.5j, 0.5j], atol=1e-15)
    theta, psi = np.random.default_rng(0).normal(size=(2, 100))
    outward = theta * game.generator_field(theta, psi) + psi * game.discriminator_field(theta, psi)
    np.testing.assert_allclose(outward, 0, atol=1e-14)
    radii = np.linalg.norm(game.trajectory(1.0, 1.0, RATE, 5000), axis=1)
    assert radii.min() > 0.9 * radii[0]
    assert radii.max() < 1.1 * radii[0]


def test_unregularised_alternating_descent_is_on_the_unit_circle_up_to_a_rate() -> None:
    """Lemma 2.5: 1 - a^2/2 +- sqrt((1 - a^2/2)^2 - 1) with a = h f'(0), on the unit circle for a <= 2."""
    for rate in (0.1, 1.0, 3.9):
        middle = 1 - (rate / 2) ** 2 / 2
        expected = middle + np.array([-1, 1]) * np.sqrt(complex(middle**2 - 1))
        values = np.sort_complex(of_loss("minimax").eigenvalues(rate))
        np.testing.assert_allclose(values, np.sort_complex(expected), atol=1e-12)
        assert of_loss("minimax").rate(rate) == pytest.approx(1)
    assert of_loss("minimax").rate(4.1) > 1.3


def test_the_nonsaturating_loss_converges_slower_than_any_rate() -> None:
    """theta^2 + psi^2 falls by 2 t tanh(t / 2), t = theta psi: less than linear, for the eigenvalues are imaginary."""
    game = of_loss("nonsaturating")
    np.testing.assert_allclose(np.sort_complex(game.eigenvalues()), [-0.5j, 0.5j], atol=1e-15)
    theta, psi = np.random.default_rng(0).normal(size=(2, 100))
    outward = 2 * (theta * game.generator_field(theta, psi) + psi * game.discriminator_field(theta, psi))
    np.testing.assert_allclose(outward, -2 * theta * psi * np.tanh(theta * psi / 2), atol=1e-14)
    # Over a turn t^2 is r^4 / 8 on average, so 1 / r^2 grows by 1/8 in each unit of time, near the equilibrium.
    flow = solve_ivp(
        lambda _, x: [float(game.generator_field(*x)), float(game.discriminator_field(*x))],
        (0, 500),
        (0.2, 0.0),
        rtol=1e-7,
        atol=1e-9,
    )
    growth = (1 / (flow.y[:, -1] ** 2).sum() - 1 / 0.2**2) / 500
    assert growth == pytest.approx(1 / 8, rel=0.03)


def test_wasserstein_training_does_not_converge() -> None:
    """Lemma 3.1: with clipped weights +-i, and with the gradient penalty psi is thrown back wherever it nears 0."""
    clipped = of_loss("wasserstein", limit=1.0)
    np.testing.assert_allclose(np.sort_complex(clipped.eigenvalues()), [-1j, 1j], atol=1e-15)
    assert np.linalg.norm(clipped.trajectory(1.0, 1.0, RATE, 3000), axis=1)[1000:].min() > 0.8
    penalised = of_loss("wasserstein", gradient_penalty=0.25)
    assert np.isnan(penalised.eigenvalues()).all()
    assert math.isnan(penalised.rate(RATE))
    for side in (-1, 1):
        assert penalised.discriminator_field(0.0, side * 1e-12) == pytest.approx(side * 2 * 0.25)
    for start in ((1.0, 1.0), (1e-9, 1e-9)):
        assert np.linalg.norm(penalised.trajectory(*start, RATE, 3000), axis=1)[1000:].min() > 0.1


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_instance_noise_has_the_published_eigenvalues(sigma: float) -> None:
    """Lemma 3.2: f''(0) s^2 +- sqrt(f''(0)^2 s^4 - f'(0)^2), f''(0) = -1/4; real from s^2 = |f'(0) / f''(0)| = 2 on."""
    root = np.sqrt(complex(sigma**4 / 16 - 1 / 4))
    expected = -(sigma**2) / 4 + np.array([-1, 1]) * root
    values = of_loss("minimax", sigma=sigma).eigenvalues()
    np.testing.assert_allclose(np.sort_complex(values), np.sort_complex(expected), atol=1e-14)
    assert (abs(values.imag).max() == 0) == (sigma**2 >= 2)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 3.0])
def test_zero_centred_penalties_have_the_published_eigenvalues(gamma: float) -> None:
    """Lemma 3.3: -g/2 +- sqrt(g^2/4 - f'(0)^2); no rotation from the critical g = 2 |f'(0)| = 1 on."""
    expected = -gamma / 2 + np.array([-1, 1]) * np.sqrt(complex(gamma**2 / 4 - 1 / 4))
    values = of_loss("minimax", gamma=gamma).eigenvalues()
    np.testing.assert_allclose(np.sort_complex(values), np.sort_complex(expected), atol=1e-14)
    assert (abs(values.imag).max() == 0) == (gamma >= 1)


def test_a_run_samples_its_point_and_draws_it(tmp_path: Path) -> None:
    _, path = trained(tmp_path / "run", "experiment=dirac_r1", "trainer.max_steps=5")
    samples = adversaria.load(tmp_path / "run", trust=["studies"]).sample(4)
    np.testing.assert_allclose(samples.numpy(), np.full((4, 1), path[-1, 0]), rtol=1e-6)
    assert (tmp_path / "run" / "samples" / "000005.png").is_file()


@pytest.mark.parametrize(
    "overrides",
    [("model=mlp", "data=ring8"), ("model=dcgan", "model.generator.width=8", "model.discriminator.width=8")],
)
def test_any_model_trains_in_float64(overrides: tuple[str, ...], tmp_path: Path) -> None:
    short = ("trainer.accelerator=cpu", "trainer.max_steps=2", "data.batch_size=8", "metrics=none")
    config = config_of(*overrides, "trainer.precision=64-true", *short)
    experiment = build_experiment(config)
    run = Run(tmp_path / "run")
    with run.started({k: v for k, v in config.items() if k != "trust"}, list(overrides)):
        assert train(experiment, run)["status"] == "finished"
    assert {p.dtype for p in experiment.system.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ("generator=dirac",),
            "generator=dirac is made for points of dimension 1 and the data has 1x.*choose data=dirac",
        ),
        (("discriminator=dirac",), "discriminator=dirac is made for"),
        (("regulariser=expected_instance_noise",), "choose such data"),
        (("model=dirac", "regulariser=expected_instance_noise", "loss=relativistic_pairing"), "loss=nonsaturating"),
        (
            ("model=dirac", "regulariser=expected_instance_noise", "regulariser.expected_instance_noise_d.sigma=-1"),
            "sigma=-1",
        ),
        (("model=dirac", "data.count=0"), "data.count=0"),
    ],
)
def test_what_does_not_fit_is_refused(overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build_experiment(config_of(*overrides, *STUDIES))
