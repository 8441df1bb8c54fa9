"""The theory of the Dirac-GAN in closed form: what `experiment=dirac_*` must do, step by step.

Mescheder, Geiger & Nowozin 2018, "Which Training Methods for GANs do actually Converge?". The data is the point 0, G is
the point theta, D(x) = psi * x. Our D is high on reals where the paper's is high on fakes, so our psi is their -psi;
nothing else differs. With losses a(D(x)) + b(D(G)) of D and c(D(G)) of G, noise sigma * e on what D sees, R1 or R2 of
weight gamma (one and the same here: the gradient of D is psi everywhere), a gradient penalty of weight lambda, and
weights clipped to a limit, gradient descent follows the field

    theta' = -E[psi c'(psi (theta + sigma e))]
    psi'   = -E[sigma e a'(psi sigma e)] - E[(theta + sigma e) b'(psi (theta + sigma e))]
             - gamma psi - 2 lambda (|psi| - 1) sign(psi)

and alternating descent with rate h the map

    psi <- clip(psi + h psi'(theta, psi)),  theta <- theta + h theta'(theta, psi)

whose eigenvalues at the equilibrium theta = psi = 0 say whether, and how fast, training converges from nearby.

>>> game = of_loss("minimax", gamma=0.25)
>>> float(game.eigenvalues().real.max()), round(game.rate(0.1), 4)
(-0.125, 0.9874)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

Array = np.ndarray[Any, Any]

_NODES = 64  # of the quadrature over the noise: see `adversaria.objectives.terms.ExpectedInstanceNoise`


@dataclass(frozen=True)
class Slopes:
    """The derivatives of a loss with respect to the logits.

    Attributes:
        real, fake: a' and b' of D's loss on a real's and on a fake's logit.
        generator: c' of G's loss on a fake's logit.
        curvature: a''(0) + b''(0).
    """

    real: Callable[[Array], Array]
    fake: Callable[[Array], Array]
    generator: Callable[[Array], Array]
    curvature: float


#: by the name of ``conf/loss``; expit is the logistic function, the derivative of the softplus
LOSSES = {
    "minimax": Slopes(lambda t: -expit(-t), expit, lambda t: -expit(t), 0.5),
    "nonsaturating": Slopes(lambda t: -expit(-t), expit, lambda t: -expit(-t), 0.5),
    "wasserstein": Slopes(lambda t: np.full_like(t, -1.0), np.ones_like, lambda t: np.full_like(t, -1.0), 0.0),
}


@dataclass(frozen=True)
class DiracGAN:
    """One way to train it; see the module for the symbols.

    Args:
        slopes: of the losses.
        gamma: weight of R1 plus that of R2.
        sigma: standard deviation of the instance noise.
        gradient_penalty: lambda, of (|psi| - 1)^2.
        limit: of psi, by weight clipping.
    """

    slopes: Slopes
    gamma: float = 0.0
    sigma: float = 0.0
    gradient_penalty: float = 0.0
    limit: float = math.inf

    def generator_field(self, theta: Any, psi: Any) -> Array:
        """theta' for arrays of one shape."""
        psi, (noise, shares) = np.asarray(psi, float)[..., None], self._noise()
        x = np.asarray(theta, float)[..., None] + noise
        return np.asarray((-psi * self.slopes.generator(psi * x)) @ shares)

    def discriminator_field(self, theta: Any, psi: Any) -> Array:
        """psi' for arrays of one shape."""
        line, (noise, shares) = np.asarray(psi, float)[..., None], self._noise()
        x = np.asarray(theta, float)[..., None] + noise
        loss = (noise * self.slopes.real(line * noise) + x * self.slopes.fake(line * x)) @ shares
        penalty = self.gamma * psi + 2 * self.gradient_penalty * (np.abs(psi) - 1) * np.sign(psi)
        return np.asarray(-loss - penalty)

    def step(self, theta: float, psi: float, rate: float) -> tuple[float, float]:
        """One step of D, then one of G."""
        psi = float(np.clip(psi + rate * self.discriminator_field(theta, psi), -self.limit, self.limit))
        return float(theta + rate * self.generator_field(theta, psi)), psi

    def trajectory(self, theta: float, psi: float, rate: float, steps: int) -> Array:
        """theta and psi before the first step and after each, ``[steps + 1, 2]``."""
        points = [(theta, psi)]
        for _ in range(steps):
            points.append(self.step(*points[-1], rate))
        return np.array(points)

    def jacobian(self) -> Array | None:
        """Of the field at the equilibrium, ``[2, 2]`` over (theta, psi); None where the field jumps there."""
        if self.gradient_penalty:
            return None
        zero = np.zeros(1)
        a, b = -float(self.slopes.generator(zero)[0]), float(self.slopes.fake(zero)[0])
        return np.array([[0.0, a], [-b, -self.gamma - self.slopes.curvature * self.sigma**2]])

    def map_jacobian(self, rate: float) -> Array | None:
        """Of `step` at the equilibrium: the Jacobian of D's step, then that of G's."""
        field = self.jacobian()
        if field is None:
            return None
        step_d = np.eye(2) + rate * np.array([[0, 0], [1, 1]]) * field
        step_g = np.eye(2) + rate * np.array([[1, 1], [0, 0]]) * field
        return np.asarray(step_g @ step_d)

    def eigenvalues(self, rate: float | None = None) -> Array:
        """Of the field, or of the map with that rate, ``[2]`` complex; NaN where the field jumps."""
        matrix = self.jacobian() if rate is None else self.map_jacobian(rate)
        if matrix is None:
            return np.full(2, complex(math.nan, math.nan))
        half, determinant = np.trace(matrix) / 2, matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]
        root = np.sqrt(complex(half**2 - determinant))
        return np.array([half + root, half - root])

    def rate(self, rate: float) -> float:
        """By what the distance to the equilibrium is multiplied in each step near it: the larger absolute eigenvalue.

        1 says nothing of convergence: what the linear part leaves open decides. NaN where the field jumps.
        """
        return float(np.abs(self.eigenvalues(rate)).max())

    def _noise(self) -> tuple[Array, Array]:
        """Where the noise is taken, ``[K]``, and the share of each place; a single place without noise."""
        places, shares = _quadrature(_NODES if self.sigma else 1)
        return self.sigma * places, shares


@functools.cache
def _quadrature(nodes: int) -> tuple[Array, Array]:
    """Gauss-Hermite places ``[K]`` and shares ``[K]`` for the average over a standard normal number."""
    places, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return places, weights / weights.sum()


def of_loss(loss: str, **choices: float) -> DiracGAN:
    """The game under one of `LOSSES`, with the fields of `DiracGAN` by name."""
    return DiracGAN(LOSSES[loss], **choices)


def of_config(config: Mapping[str, Any]) -> DiracGAN:
    """What a resolved config with ``model=dirac`` trains.

    Args:
        config: its loss must be one of `LOSSES`; of its penalties those count that the theory has a place for.
    """
    loss = config["loss"]["g_loss"]["_target_"].rsplit(".", 1)[-1].removesuffix("_g")

    def field(term: str, name: str, absent: float) -> float:
        return float(config["regulariser"].get(term, {}).get(name, absent))

    return of_loss(
        loss,
        gamma=field("r1", "weight", 0) + field("r2", "weight", 0),
        sigma=field("expected_instance_noise_d", "sigma", 0),
        gradient_penalty=field("gradient_penalty", "weight", 0),
        limit=field("weight_clipping", "limit", math.inf),
    )


def observed_rate(trajectory: Array) -> float:
    """By what the distance to the equilibrium is multiplied in each step of the second half of ``trajectory [T, 2]``.

    The slope of a straight line through the logarithms of the distances.
    """
    distances = np.linalg.norm(trajectory[len(trajectory) // 2 :], axis=1)
    slope, _ = np.polyfit(np.arange(len(distances)), np.log(distances), 1)
    return math.exp(slope)
