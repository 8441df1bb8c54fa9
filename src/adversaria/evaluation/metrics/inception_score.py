"""The Inception Score (Salimans et al. 2016, "Improved Techniques for Training GANs", section 4) of any classifier."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def inception_score(logits: Tensor, splits: int, seed: int = 2020) -> tuple[float, float]:
    """Mean and standard deviation over ``splits`` parts of ``exp(E_x KL(p(y | x) || p(y)))``; 1 to K.

    The order is shuffled first: samples sorted by class would put one class into each part.

    Args:
        logits: ``[N, K]``, N >= ``splits``.
        splits: the number of parts.
        seed: of the shuffle; the default makes it the one of torch-fidelity.
    """
    n = len(logits)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(n))
    log_p = logits.cpu()[order].double().log_softmax(dim=1)
    scores = []
    for k in range(splits):
        part = log_p[k * n // splits : (k + 1) * n // splits]
        marginal = part.logsumexp(dim=0) - np.log(len(part))  # log p(y), [K]
        scores.append(float((part.exp() * (part - marginal)).sum(dim=1).mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))
