"""What systems with an encoder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.nn.network import as_generator
from adversaria.nn.posterior import Posterior
from adversaria.systems.optim import Optim


def check_decoder(decoder: nn.Module, optim: Optim, model: str) -> None:
    """Refuses what has no place beside an encoder.

    Args:
        decoder: the generator of the system.
        optim: how it is optimised.
        model: the system in words.

    Raises:
        UserError: latents with labels or codes, which no encoder finds; or several D steps or parts of a batch.
    """
    said = as_generator(decoder)
    if said.conditional:
        raise UserError(
            f"model.generator.conditional=true is not for {model}, whose encoder sees no labels; set it to false"
        )
    if said.codes is not None:
        raise UserError(
            f"model.generator={type(decoder).__name__} has codes in its latents, which the encoder of {model} does not "
            "find; choose a generator without, as in generator=dcgan"
        )
    if optim.n_critic != 1 or optim.accumulate != 1 or optim.generator_batch is not None:
        raise UserError(
            f"optim.n_critic, optim.accumulate and optim.generator_batch are for GANs; leave them out of {model}"
        )


@torch.no_grad()
def unexplained(reals: Tensor, reconstructions: Tensor) -> Tensor:
    """The share of a batch's variance that its reconstructions ``[N, *shape]`` leave unexplained, a scalar.

    Their squared error over that of the batch's mean sample: 1 is what a decoder reaches that ignores its latent, more
    is the error of samples that are other ones.
    """
    variance = (reals - reals.mean(0)).square().mean()
    return (reconstructions.float() - reals).square().mean() / variance


@torch.no_grad()
def reconstruction_pairs(encoder: nn.Module, decoder: Callable[..., Any], reals: Tensor) -> Tensor:
    """The first half of ``reals [N, *shape]``, each followed by what is decoded from the mean of its posterior."""
    reals = reals[: max(1, len(reals) // 2)]
    return torch.stack([reals, decoder(Posterior.of(encoder, reals).mean)], dim=1).flatten(0, 1)
