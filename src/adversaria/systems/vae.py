"""A variational autoencoder (Kingma & Welling 2014), the neighbour that GANs are measured against.

Its decoder is any generator, so that a GAN and a VAE with the same sampler can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.ranges import NonNegative, Seed
from adversaria.core.types import Batch, DataSpec
from adversaria.nn.network import as_generator
from adversaria.nn.prior import Prior
from adversaria.systems.base import SteppedModule
from adversaria.systems.optim import Optim, make_optimizer


class VAE(SteppedModule):
    """Maximises the evidence lower bound with a Gaussian decoder of optimal variance.

    The decoder's variance, shared by all pixels, is the one that maximises the likelihood of the batch, the mean
    squared error itself, so that reconstruction and divergence need no hand-set balance (Rybkin et al. 2021, "Simple
    and Effective VAE Training with Calibrated Decoders", equation 6). The loss is the negative bound in nats for each
    dimension of a sample.

    Args:
        spec: of the data.
        generator: the decoder; maps ``z [N, latent_dim]`` to samples ``[N, *spec.shape]``.
        encoder: called with ``spec`` and ``latent_dim``, gives a module that maps samples to the posterior's mean and
            log-variance, each ``[N, latent_dim]``.
        beta: weight of the divergence (Higgins et al. 2017); 1 is the bound itself.
        optim: the optimizer under ``generator`` trains encoder and decoder.
        seed: of the run.

    Raises:
        UserError: a conditional decoder, a negative ``beta``, or more than one D step.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        generator: nn.Module,
        encoder: Callable[..., nn.Module],
        optim: Optim,
        seed: Seed,
        beta: NonNegative = 1.0,
    ) -> None:
        super().__init__(spec=spec, optim=optim, seed=seed)
        if beta < 0:
            raise UserError(f"model.beta={beta} must not be negative")
        self.prior = Prior.of(generator)
        if as_generator(generator).conditional:
            raise UserError(
                "model.generator.conditional=true is not for a VAE, whose encoder sees no labels; set it to false"
            )
        if optim.n_critic != 1 or optim.accumulate != 1 or optim.generator_batch is not None:
            raise UserError(
                "optim.n_critic, optim.accumulate and optim.generator_batch are for GANs; leave them out of a VAE"
            )
        self.generator, self.beta = generator, beta
        self.encoder = encoder(spec=spec, latent_dim=self.prior.latent_dim)
        self.forwards = {"generator": generator, "encoder": self.encoder}

    def configure_optimizers(self) -> Optimizer:
        """One optimizer for encoder and decoder."""
        scaled = self.trainer.precision == "16-mixed"
        return make_optimizer(self.optim.generator, self.parameters(), scaled_gradients=scaled)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One update of encoder and decoder."""
        real, _ = self.begin_step(batch)
        mean, log_variance = self.forwards["encoder"](real)
        mean, log_variance = mean.float(), log_variance.float()
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (self.forwards["generator"](z).float() - real).square().mean()
        # -log N(x | decoded, error) up to a constant, for each dimension of x
        reconstruction = 0.5 * error.log()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / real[0].numel()
        loss = reconstruction + self.beta * divergence
        self.backward_part(loss)
        self.step_counted(self.optimizers())
        self.end_step({"loss/elbo": loss}, {"loss/divergence": divergence, "loss/squared_error": error})

    @torch.no_grad()
    def previews(self, reals: Tensor) -> dict[str, Tensor]:
        """``reconstructions``: each real beside what is decoded from the mean of its posterior."""
        reals = reals[: max(1, len(reals) // 2)]
        mean, _ = self.encoder(reals)
        pairs: Any = torch.stack([reals, self.generator(mean)], dim=1)
        return {"reconstructions": pairs.flatten(0, 1)}
