"""LeCam regularisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount, Count, Decay
from adversaria.core.ranks import sum_over_ranks
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step


class LeCam(nn.Module):
    """Keeps D's logits of reals and fakes near the moving average of the other kind, for little data.

    Tseng et al. 2021, "Regularizing Generative Adversarial Networks under Limited Data", equation 5: the square of
    D(x) - a_F and of D(G(z)) - a_R, where a_R and a_F are moving averages of D's logits of reals and fakes. As in the
    authors' code only reals above a_F and fakes below a_R count, the averages take in the batch before they are used,
    and before ``start`` they are those of the last batch.

    Args:
        weight: the paper's lambda, 0 or more, or a ramp.
        interval: computed every so many D steps, and then counted so many times.
        decay: of the moving averages, in [0, 1).
        start: generator updates before the term counts, 0 or more.

    Raises:
        UserError: a value out of range.
    """

    applies_to: Network = "discriminator"
    averages: Tensor
    begun: Tensor

    def __init__(
        self, *, weight: Weight = 0.3, interval: Count = 1, decay: Decay = 0.99, start: Amount = 1_000
    ) -> None:
        super().__init__()
        if not callable(weight) and not weight >= 0:
            raise UserError(f"regulariser.lecam.weight={weight} is out of range: it must be 0 or more")
        if interval < 1:
            raise UserError(f"regulariser.lecam.interval={interval} is out of range: it must be 1 or more")
        if not 0 <= decay < 1:
            raise UserError(f"regulariser.lecam.decay={decay} is out of range: it must be 0 or more and below 1")
        if start < 0:
            raise UserError(f"regulariser.lecam.start={start} is out of range: it must be 0 or more")
        self.weight, self.interval, self.decay, self.start = weight, interval, decay, start
        self.register_buffer("averages", torch.zeros(2))  # of reals, of fakes
        self.register_buffer("begun", torch.tensor(False))  # whether they hold anything

    def forward(self, step: Step) -> Tensor:
        """A float32 scalar."""
        assert step.real_output is not None
        assert step.fake_output is not None
        real, fake = step.real_output.logits.float(), step.fake_output.logits.float()
        started = step.progress.update >= self.start
        self._take_in(real, fake, self.decay if started else 0.0)
        real_average, fake_average = self.averages.clone()
        penalty: Tensor = (real - fake_average).relu().square().mean() + (real_average - fake).relu().square().mean()
        return penalty * started

    @torch.no_grad()
    def _take_in(self, real: Tensor, fake: Tensor, decay: float) -> None:
        means = torch.stack([real.mean(), fake.mean(), torch.ones_like(real.mean())])
        means = sum_over_ranks(means)
        means = means[:2] / means[2]
        self.averages.copy_(torch.where(self.begun, torch.lerp(means, self.averages, decay), means))
        self.begun.fill_(True)
