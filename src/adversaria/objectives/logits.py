"""What logits say of a game, for the logs."""

from __future__ import annotations

from torch import Tensor


def logit_summary(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Mean and spread of D's logits ``[N]`` of reals and of fakes, their gap, D's accuracy and r_t.

    ``logits/real_sign`` is r_t = E[sign D(real)] of Karras et al. 2020 (equation 1), which rises with overfitting;
    ``logits/accuracy`` the share of samples on their side of 0, reals and fakes alike.
    """
    real, fake = real.float(), fake.float()
    accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
    summary = {"gap": real.mean() - fake.mean(), "accuracy": accuracy, "real_sign": real.sign().mean()}
    for name, logits in (("real", real), ("fake", fake)):
        summary |= {f"{name}_mean": logits.mean(), f"{name}_std": logits.std(correction=0)}
    return {f"logits/{name}": value for name, value in summary.items()}
