"""Gradient penalties: terms of D's objective that bound the gradient of its logits with respect to its input.

All of them differentiate with respect to samples before augmentation, in float32 with autocast disabled (float64
stays), and draw what is random from torch's global state on the samples' device. Patch logits are averaged to one
logit per sample first. The gradient of one sample's logit is meant; BatchNorm in D makes it depend on the whole batch,
which the authors of these penalties advise against (Gulrajani et al. 2017, section 4): choose a D without it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adversaria.core.ranges import Count, NonNegative
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step
from adversaria.nn.layers import at_least_float32, without_autocast
from adversaria.objectives.terms.checks import check_term


class R1:
    """E||grad D(x)||^2 / 2 on reals (Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?").

    Equation 9, so that ``weight`` is the paper's gamma.

    Args:
        weight: gamma, 0 or more, or a ramp.
        interval: computed every so many D steps, and then counted so many times.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    applies_to: Network = "discriminator"
    uses_outputs = False

    def __init__(self, *, weight: Weight = 10.0, interval: Count = 1) -> None:
        check_term("r1", weight, interval)
        self.weight = weight
        self.interval = interval

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        return 0.5 * input_gradient(step, step.real, step.real_labels).square().sum(1).mean()


class R2:
    """E||grad D(G(z))||^2 / 2 on fakes (Mescheder et al. 2018, equation 10), ``weight`` being the paper's gamma.

    Args:
        weight: gamma, 0 or more, or a ramp.
        interval: computed every so many D steps, and then counted so many times.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    applies_to: Network = "discriminator"
    uses_outputs = False

    def __init__(self, *, weight: Weight = 10.0, interval: Count = 1) -> None:
        check_term("r2", weight, interval)
        self.weight = weight
        self.interval = interval

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        return 0.5 * input_gradient(step, step.fake, step.fake_labels).square().sum(1).mean()


class GradientPenalty:
    """E(||grad D|| - k)^2 between reals and fakes (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs").

    Equation 3: each point lies at a uniformly random place on the line from a real to a fake. A conditional D is given
    the labels of the reals. Of batches of unequal size the longer one is cut.

    Args:
        weight: lambda, 0 or more, or a ramp.
        interval: computed every so many D steps, and then counted so many times.
        one_sided: penalise only norms above the target (Petzka et al. 2018, "On the regularization of Wasserstein
            GANs").
        target: k, 0 or more.

    Raises:
        UserError: a negative weight or target, or an interval below 1.
    """

    applies_to: Network = "discriminator"
    uses_outputs = False

    def __init__(
        self, *, weight: Weight = 10.0, interval: Count = 1, one_sided: bool = False, target: NonNegative = 1.0
    ) -> None:
        check_term("gradient_penalty_one_sided" if one_sided else "gradient_penalty", weight, interval, target)
        self.weight = weight
        self.interval = interval
        self.one_sided = one_sided
        self.target = target

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        n = min(len(step.real), len(step.fake))
        real, fake = at_least_float32(step.real[:n]), at_least_float32(step.fake[:n])
        labels = None if step.real_labels is None else step.real_labels[:n]
        x = torch.lerp(real, fake, _uniform_per_sample(real))
        norm: Tensor = torch.linalg.vector_norm(input_gradient(step, x, labels), dim=1)  # [N]
        excess = norm - self.target
        if self.one_sided:
            excess = excess.relu()
        return excess.square().mean()


class DRAGAN:
    """E(||grad D|| - k)^2 around reals (Kodali et al. 2017, "On Convergence and Stability of GANs", algorithm 1).

    As in the authors' code each point lies at a uniformly random place on the line from a real x to x + u * std / 2,
    with u uniform in [0, 1] for every number of x and std that of the whole batch; the paper's noise is normal.

    Args:
        weight: lambda, 0 or more, or a ramp.
        interval: computed every so many D steps, and then counted so many times.
        target: k, 0 or more.

    Raises:
        UserError: a negative weight or target, or an interval below 1.
    """

    applies_to: Network = "discriminator"
    uses_outputs = False

    def __init__(self, *, weight: Weight = 10.0, interval: Count = 1, target: NonNegative = 1.0) -> None:
        check_term("dragan", weight, interval, target)
        self.weight = weight
        self.interval = interval
        self.target = target

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        real = at_least_float32(step.real)
        noise = 0.5 * real.std(correction=0) * torch.rand_like(real)
        x = real + _uniform_per_sample(real) * noise
        norm: Tensor = torch.linalg.vector_norm(input_gradient(step, x, step.real_labels), dim=1)  # [N]
        return (norm - self.target).square().mean()


def input_gradient(step: Step, x: Tensor, labels: Tensor | None) -> Tensor:
    """The gradient of each sample's logit with respect to that sample, differentiable with respect to D's weights.

    Args:
        step: whose D and augmentation are used.
        x: where it is taken, ``[N, ...]``.
        labels: ``[N]``, or None.

    Returns:
        ``[N, D]``, flattened; of a packed D, which judges m samples with one logit, ``[N / m, m * D]``.
    """
    with torch.enable_grad(), without_autocast(x.device):
        x = at_least_float32(x.detach()).requires_grad_(True)
        logits = step.logits(x, labels)
        logits = logits.reshape(len(logits), -1).mean(dim=1)  # [N]
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.reshape(len(logits), -1)


def _uniform_per_sample(x: Tensor) -> Tensor:
    """One number in [0, 1) per sample, ``[N, 1, ...]``."""
    return torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
