"""A system of three networks as a user would write one: a GAN whose generator is also the decoder of an encoder."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer

from adversaria.core.types import Batch, DataSpec
from adversaria.nn.prior import Prior
from adversaria.objectives.game import Game
from adversaria.objectives.losses import AdversarialLoss
from adversaria.systems.base import SteppedModule
from adversaria.systems.optim import Optim, make_optimizer


class Encoder(nn.Module):
    """Samples ``[N, *spec.shape]`` -> latents ``[N, latent_dim]``."""

    def __init__(self, *, spec: DataSpec, latent_dim: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(spec.shape), width), nn.ReLU(), nn.Linear(width, latent_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.layers(x)
        return z


class Autoencoding(SteppedModule):
    """Each network has an optimizer; the encoder's learns to find what the generator makes a real of."""

    network_names = ("encoder", "generator", "discriminator")

    def __init__(
        self,
        *,
        spec: DataSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        encoder: Callable[..., Encoder],
        loss: AdversarialLoss,
        augment: nn.Module,
        optim: Optim,
        seed: int,
    ) -> None:
        super().__init__(spec=spec, optim=optim, seed=seed)
        self.generator, self.discriminator, self.augment, self.loss = generator, discriminator, augment, loss
        self.prior = Prior.of(generator)
        self.encoder = encoder(spec=spec, latent_dim=self.prior.latent_dim)
        self.forwards = dict(self.networks)

    @property
    def game(self) -> Game:
        return self

    def configure_optimizers(self) -> tuple[Optimizer, ...]:
        return tuple(
            make_optimizer(self.optim.generator, n.parameters(), scaled_gradients=False) for n in self.networks.values()
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        real, _ = self.begin_step(batch)
        of_encoder, of_generator, of_discriminator = self.optimizers()  # type: ignore[attr-defined]
        generate, discriminate = self.forwards["generator"], self.forwards["discriminator"]

        fake = generate(self.prior.draw(len(real), device=self.device))
        d_loss = self.loss.d_loss(discriminate(real).logits, discriminate(fake.detach()).logits)
        self.backward_part(d_loss)
        self.step_uncounted(of_discriminator.optimizer)

        reconstruction = (generate(self.forwards["encoder"](real)) - real).square().mean()
        g_loss = self.loss.g_loss(discriminate(fake).logits, None)
        self.backward_part(g_loss + reconstruction)
        of_discriminator.optimizer.zero_grad()
        self.step_uncounted(of_encoder.optimizer)
        self.step_counted(of_generator)
        self.end_step({"loss/discriminator": d_loss, "loss/generator": g_loss}, {"loss/reconstruction": reconstruction})
