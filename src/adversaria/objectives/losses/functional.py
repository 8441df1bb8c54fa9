"""Adversarial losses as pure functions of logits.

Everywhere r = D(x) are the logits of reals ``[N, ...]`` and f = D(G(z)) those of fakes ``[M, ...]``; further dimensions
(patches, positions) are averaged like samples. The result is a scalar, in float32 whatever the logits come in
(float64 stays). With s(t) = log(1 + exp(t)), the softplus, -log sigmoid(t) = s(-t) and -log(1 - sigmoid(t)) = s(t).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu, softplus

from adversaria.core.errors import UserError
from adversaria.core.ranges import NonNegative, Real
from adversaria.nn.layers import at_least_float32


def bce_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy, E[s(-r)] + E[s(f)] (Goodfellow et al. 2014, equation 1, negated)."""
    return softplus(-at_least_float32(real_logits)).mean() + softplus(at_least_float32(fake_logits)).mean()


def nonsaturating_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-E[log sigmoid(f)] = E[s(-f)] (Goodfellow et al. 2014, end of section 3): strong gradients while D wins."""
    return softplus(-at_least_float32(fake_logits)).mean()


def minimax_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """E[log(1 - sigmoid(f))] = -E[s(f)] (Goodfellow et al. 2014, equation 1): its gradient vanishes while D wins."""
    return -softplus(at_least_float32(fake_logits)).mean()


def least_squares_d(
    real_logits: Tensor, fake_logits: Tensor, real_target: Real = 1.0, fake_target: Real = 0.0
) -> Tensor:
    """E[(r - b)^2] / 2 + E[(f - a)^2] / 2, b = ``real_target``, a = ``fake_target`` (Mao et al. 2017, equation 2)."""
    real = (at_least_float32(real_logits) - real_target).square().mean()
    fake = (at_least_float32(fake_logits) - fake_target).square().mean()
    return 0.5 * (real + fake)


def least_squares_g(fake_logits: Tensor, real_logits: Tensor | None = None, target: NonNegative = 1.0) -> Tensor:
    """E[(f - c)^2] / 2 with c = ``target`` (Mao et al. 2017, equation 2)."""
    return 0.5 * (at_least_float32(fake_logits) - target).square().mean()


def wasserstein_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E[f] - E[r] (Arjovsky et al. 2017, algorithm 1); D must be kept Lipschitz by a penalty or by clipping."""
    return at_least_float32(fake_logits).mean() - at_least_float32(real_logits).mean()


def wasserstein_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-E[f] (Arjovsky et al. 2017, algorithm 1)."""
    return -at_least_float32(fake_logits).mean()


def hinge_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E[max(0, 1 - r)] + E[max(0, 1 + f)] (Lim & Ye 2017; Miyato et al. 2018, equation 16)."""
    return relu(1 - at_least_float32(real_logits)).mean() + relu(1 + at_least_float32(fake_logits)).mean()


def hinge_g(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-E[f] (Lim & Ye 2017; Miyato et al. 2018, equation 17)."""
    return -at_least_float32(fake_logits).mean()


def relativistic_pairing_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E[s(f - r)], the i-th real against the i-th fake (Jolicoeur-Martineau 2019, RSGAN; RpGAN in R3GAN).

    Raises:
        UserError: as many fakes as reals are needed.
    """
    real, fake = _pairs(real_logits, fake_logits)
    return softplus(fake - real).mean()


def relativistic_pairing_g(fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
    """E[s(r - f)], the i-th real against the i-th fake (Jolicoeur-Martineau 2019, RSGAN; RpGAN in R3GAN).

    Raises:
        UserError: as many fakes as reals are needed.
    """
    real, fake = _pairs(_required(real_logits), fake_logits)
    return softplus(real - fake).mean()


def relativistic_average_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E[s(-(r - E[f]))] + E[s(f - E[r])] (Jolicoeur-Martineau 2019, RaSGAN): each against the mean of the others."""
    real, fake = at_least_float32(real_logits), at_least_float32(fake_logits)
    return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()


def relativistic_average_g(fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
    """E[s(-(f - E[r]))] + E[s(r - E[f])] (Jolicoeur-Martineau 2019, RaSGAN): D's loss with the roles exchanged."""
    return relativistic_average_d(fake_logits, _required(real_logits))


def _required(real_logits: Tensor | None) -> Tensor:
    if real_logits is None:
        raise ValueError("a relativistic loss of G needs the logits of reals: set needs_real_logits=True beside it")
    return real_logits


def _pairs(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    if real_logits.shape != fake_logits.shape:
        raise UserError(
            f"loss=relativistic_pairing compares the i-th real with the i-th fake, but there are {len(real_logits)} "
            f"reals and {len(fake_logits)} fakes: leave optim.generator_batch=null, or choose "
            f"loss=relativistic_average"
        )
    return at_least_float32(real_logits), at_least_float32(fake_logits)
