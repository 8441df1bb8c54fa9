"""Consistency regularisation: D should say the same of an image and of its mirrored and shifted copy."""

from __future__ import annotations

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count, NonNegative
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step
from adversaria.objectives.game import Game

#: largest shift, as a share of height and width
SHIFT_MAX = 1 / 8


class Consistency:
    """E(D(x) - D(T(x)))^2 on reals, and with a weight of its own on fakes; T flips and shifts at random.

    Reals alone are CR-GAN (Zhang et al. 2020, "Consistency Regularization for Generative Adversarial Networks"), reals
    and fakes are bCR (Zhao et al. 2021, "Improved Consistency Regularization for GANs"). What ``augment`` does comes
    after T, anew for both images of a pair.

    Args:
        weight: the papers' lambda, 0 or more, or a ramp.
        interval: computed every so many D steps, and then counted so many times.
        fakes: weight of the fakes relative to that of the reals, 0 or more.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    applies_to: Network = "discriminator"

    def __init__(self, *, weight: Weight = 10.0, interval: Count = 1, fakes: NonNegative = 0.0) -> None:
        for name, value in (("weight", weight), ("fakes", fakes)):
            if not callable(value) and not value >= 0:
                raise UserError(f"regulariser.consistency.{name}={value} is out of range: it must be 0 or more")
        if interval < 1:
            raise UserError(f"regulariser.consistency.interval={interval} is out of range: it must be 1 or more")
        self.weight, self.interval, self.fakes = weight, interval, fakes

    def check(self, game: Game) -> None:
        """Refuses data that cannot be mirrored and shifted."""
        if len(game.spec.shape) != 3:
            raise UserError(
                f"regulariser=consistency flips and shifts images, and this data set has {game.spec.modality.noun}: "
                "leave it out, as in regulariser=none"
            )

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        assert step.real_output is not None
        assert step.fake_output is not None
        difference = _difference(step, step.real, step.real_labels, step.real_output.logits)
        if self.fakes:
            fake_difference = _difference(step, step.fake, step.fake_labels, step.fake_output.logits)
            difference = difference + self.fakes * fake_difference
        return difference


def _difference(step: Step, x: Tensor, labels: Tensor | None, logits: Tensor) -> Tensor:
    return (step.logits(flipped_and_shifted(x), labels).float() - logits.float()).square().mean()


def flipped_and_shifted(x: Tensor) -> Tensor:
    """Half of the images mirrored, all shifted by whole pixels, at most an eighth; reflections move in.

    Args:
        x: ``[N, C, H, W]``.

    Returns:
        ``[N, C, H, W]``.
    """
    n, channels, height, width = x.shape
    rows = _shifted(n, height, x.device)  # [N, H]: where each row comes from
    columns = _shifted(n, width, x.device)  # [N, W]
    mirrored = torch.rand(n, 1, device=x.device) < 0.5
    columns = torch.where(mirrored, width - 1 - columns, columns)
    index = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, -1)  # [N, 1, H W]
    return x.flatten(2).gather(2, index.expand(-1, channels, -1)).view_as(x)


def _shifted(n: int, length: int, device: torch.device) -> Tensor:
    """For each of ``n`` samples the positions ``0 .. length - 1`` plus one random shift, reflected, ``[n, length]``."""
    most = int(length * SHIFT_MAX)
    shift = torch.randint(-most, most + 1, (n, 1), device=device)
    position = (torch.arange(length, device=device) + shift).abs()
    return torch.minimum(position, 2 * (length - 1) - position)
