"""Instance noise in expectation, for data of one dimension."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between, Positive
from adversaria.core.schedules import Ramp
from adversaria.core.types import Network, Step
from adversaria.objectives.game import Game
from adversaria.objectives.losses import AdversarialLoss


class ExpectedInstanceNoise:
    """What Gaussian noise on everything that D sees adds to the loss on average: E[loss(D(x + sigma e))] - loss(D(x)).

    With the loss itself that is the loss under instance noise (Sønderby et al. 2017, "Amortised MAP Inference for Image
    Super-resolution", section 3.2; Arjovsky & Bottou 2017), without the chance in it: the average over e is an integral
    over the real line, which Gauss-Hermite quadrature takes. One and the same noise meets reals and fakes, which makes
    no difference to a loss that is a sum of one of reals and one of fakes.

    Args:
        applies_to: whose objective it joins; noise needs both terms.
        sigma: standard deviation of the noise, in units of the data; 0 or more.
        nodes: of the quadrature. As long as the logits change by less than 2 along sigma, 64 give the integral of the
            logistic losses to 10 digits.

    Raises:
        UserError: a value out of range.
    """

    #: a share of it, or in some steps only, would not be the loss under noise
    weight: float | Ramp = 1.0
    interval = 1

    def __init__(
        self,
        *,
        applies_to: Network = "discriminator",
        sigma: Positive = 1.0,
        nodes: Annotated[int, Between(1, 512)] = 64,
    ) -> None:
        name = f"expected_instance_noise_{applies_to[0]}"
        if not sigma >= 0 or nodes < 1:
            raise UserError(f"regulariser.{name} has sigma={sigma} and nodes={nodes}: set sigma >= 0 and nodes >= 1")
        self.applies_to: Network = applies_to
        places, weights = np.polynomial.hermite_e.hermegauss(nodes)
        self._noise = torch.from_numpy(sigma * places)  # [K]
        self._shares = torch.from_numpy(weights / weights.sum())  # [K]
        self._loss: AdversarialLoss | None = None

    def check(self, game: Game) -> None:
        """Takes over the loss, and refuses what has no such expectation.

        Raises:
            UserError: data of more than one dimension, or a loss that compares reals with fakes.
        """
        if game.spec.shape != (1,):
            raise UserError(
                "regulariser=expected_instance_noise integrates over data of one dimension alone: choose such data, or "
                "leave the term out"
            )
        if game.loss.needs_real_logits:
            raise UserError(
                "regulariser=expected_instance_noise cannot go with a relativistic loss, under which the noises of "
                "reals and fakes meet: choose another loss, as in loss=nonsaturating"
            )
        self._loss = game.loss

    def __call__(self, step: Step) -> Tensor:
        """A scalar, in float32 at least."""
        assert self._loss is not None
        assert step.fake_output is not None
        fake = self._logits(step, step.fake, step.fake_labels)
        if self.applies_to == "generator":
            noisy = torch.vmap(lambda f: self._loss.g_loss(f, None))(fake)  # type: ignore[union-attr]
            clean = self._loss.g_loss(step.fake_output.logits, None)
        else:
            assert step.real_output is not None
            real = self._logits(step, step.real, step.real_labels)
            noisy = torch.vmap(self._loss.d_loss)(real, fake)
            clean = self._loss.d_loss(step.real_output.logits, step.fake_output.logits)
        return self._shares.to(noisy) @ noisy - clean

    def _logits(self, step: Step, x: Tensor, labels: Tensor | None) -> Tensor:
        """D's logits of ``x [N, 1]`` with the noise of each node, ``[K, N, ...]``."""
        noisy = x + self._noise.to(x).reshape(-1, 1, 1)  # [K, N, 1]
        repeated = None if labels is None else labels.repeat(len(noisy))
        logits = step.logits(noisy.flatten(0, 1), repeated)
        return logits.reshape(*noisy.shape[:2], *logits.shape[1:])
