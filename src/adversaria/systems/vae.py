"""A variational autoencoder (Kingma & Welling 2014), the neighbour that GANs are measured against.

Its decoder is any generator, so that a GAN and a VAE with the same sampler can be compared.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.ranges import NonNegative, Seed
from adversaria.core.types import Batch, DataSpec
from adversaria.nn.posterior import Posterior
from adversaria.nn.prior import Prior
from adversaria.systems.autoencoding import check_decoder, reconstruction_pairs, unexplained
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
        UserError: a decoder with labels or codes, a negative ``beta``, or more than one D step.
    """

    encoder_name = "encoder"

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
        check_decoder(generator, optim, "a VAE")
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
        posterior = Posterior.of(self.forwards["encoder"], real)
        decoded = self.forwards["generator"](posterior.draw()).float()
        error = (decoded - real).square().mean()
        # -log N(x | decoded, error) up to a constant, for each dimension of x
        reconstruction = 0.5 * error.log()
        divergence = posterior.divergence().mean() / real[0].numel()
        loss = reconstruction + self.beta * divergence
        self.backward_part(loss)
        self.step_counted(self.optimizers())
        values = {"loss/divergence": divergence, "loss/squared_error": error}
        if self.log_due:
            values["reconstruction/unexplained"] = unexplained(real, decoded)
        self.end_step({"loss/elbo": loss}, values)

    def previews(self, reals: Tensor) -> dict[str, Tensor]:
        """``reconstructions``: each real beside what is decoded from the mean of its posterior."""
        return {"reconstructions": reconstruction_pairs(self.encoder, self.generator, reals)}
