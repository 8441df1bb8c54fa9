"""A variational autoencoder whose decoder plays a game, and whose errors are measured by its opponent.

Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth, NonNegative, Seed
from adversaria.core.types import Batch, Constraint, DataSpec, Reparametrisation, Term
from adversaria.nn.network import as_discriminator, stage_features
from adversaria.nn.posterior import Posterior
from adversaria.objectives.losses import AdversarialLoss
from adversaria.systems.autoencoding import check_decoder, reconstruction_pairs, unexplained
from adversaria.systems.gan import GAN
from adversaria.systems.optim import Optim, make_optimizer


class VAEGAN(GAN):
    """Encoder, decoder and D, each with an optimizer: what a GAN's D sees as fakes are reconstructions and samples.

    Samples are likely if D's features of them are near those of the reconstruction, under a Gaussian of the variance
    that suits the batch best, as pixels are to `adversaria.systems.vae.VAE` (Rybkin et al. 2021). The game is that of
    `adversaria.systems.gan.GAN`; half of its fakes are reconstructions, so that there are as many fakes as reals.

    Args:
        spec: of the data.
        generator: the decoder; maps ``z [N, latent_dim]`` to samples ``[N, *spec.shape]``.
        discriminator: has at least ``stage`` stages (`adversaria.nn.network.Discriminator.stages`).
        encoder: called with ``spec`` and ``latent_dim``, gives a module that maps samples to the posterior's mean and
            log-variance, each ``[N, latent_dim]``.
        loss, regulariser, augment, seed: as of `adversaria.systems.gan.GAN`; features are those of samples without
            augmentation.
        optim: has optimizers for decoder (``generator``), encoder and discriminator.
        stage: l, the stage of D whose features are compared; 1 is the one nearest the sample.
        gamma: weight of the likelihood against the game in the decoder's gradient.
        beta: weight of the divergence from the prior in the encoder's (Higgins et al. 2017).

    Raises:
        UserError: a decoder with labels or codes, a D without such a stage, more than one D step, or as of
            `adversaria.systems.gan.GAN`.
    """

    network_names = ("generator", "encoder", "discriminator")
    encoder_name = "encoder"

    def __init__(
        self,
        *,
        spec: DataSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        encoder: Callable[..., nn.Module],
        loss: AdversarialLoss,
        regulariser: Mapping[str, Term | Constraint | Reparametrisation],
        augment: nn.Module,
        optim: Optim,
        seed: Seed,
        stage: Depth = 2,
        gamma: NonNegative = 1.0,
        beta: NonNegative = 1.0,
    ) -> None:
        check_decoder(generator, optim, "a VAE-GAN")
        super().__init__(
            spec=spec,
            generator=generator,
            discriminator=discriminator,
            loss=loss,
            regulariser=regulariser,
            augment=augment,
            optim=optim,
            seed=seed,
        )
        for name, value in (("gamma", gamma), ("beta", beta)):
            if value < 0:
                raise UserError(f"model.{name}={value} must not be negative")
        stages = len(as_discriminator(discriminator).stages)
        if not 1 <= stage <= stages:
            has = f"has {stages}" if stages else "says of none"
            raise UserError(
                f"model.stage={stage} is no stage of {type(discriminator).__name__}, which {has}: set it to one that D "
                "has, or choose another D, as in discriminator=dcgan"
            )
        self.stage, self.gamma, self.beta = stage, gamma, beta
        self.encoder = encoder(spec=spec, latent_dim=self.prior.latent_dim)
        self.forwards["encoder"] = self.encoder

    def configure_optimizers(self) -> tuple[Optimizer, ...]:  # type: ignore[override]  # one more than a GAN's
        """Those of decoder, encoder and D, in this order."""
        of_decoder, of_discriminator = super().configure_optimizers()
        scaled = self.trainer.precision == "16-mixed"
        factory = self.optim.encoder or self.optim.generator
        return of_decoder, make_optimizer(factory, self.encoder.parameters(), scaled_gradients=scaled), of_discriminator

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One update of all three (Larsen et al. 2016, algorithm 1), in which D steps before the other two."""
        x, _ = self.begin_step(batch)  # X, [N, *shape]
        optimizer_g, optimizer_e, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        decode, half = self.forwards["generator"], len(x) // 2
        values: dict[str, Tensor] = {}

        # 1. Z = Enc(X), L_prior = KL(q(Z | X) || p(Z)), and Z_p from the prior.
        posterior = Posterior.of(self.forwards["encoder"], x)
        divergence = posterior.divergence().mean()
        z_p, _ = self._draw(len(x) - half, None)
        z = posterior.draw().to(z_p.dtype)

        # 2. X~ = Dec(Z) and X_p = Dec(Z_p), whose statistics BatchNorm in Dec shares, as it does where either is made
        # later. Half of X~ and X_p are the fakes of the game.
        made = decode(torch.cat([z, z_p]))
        reconstructed, fakes = made[: len(x)], torch.cat([made[:half], made[len(x) :]])
        step = self._step(x, None, torch.cat([z[:half], z_p]).detach(), fakes.detach(), None)

        # 3. Dis <- gradient of L_GAN = d_loss(Dis(X), Dis(fakes)) + terms.
        terms, lazy = self._due_terms("discriminator", self.update)
        real_logits, fake_logits = self.discriminate(step)
        d_loss = self.loss.d_loss(real_logits, fake_logits)
        d_loss = self.backward_part(self._add_terms(d_loss, terms, step, values))
        self.step_uncounted(optimizer_d.optimizer)
        self._lazy_step(optimizer_d.optimizer, lazy, self.discriminate, step)
        self._project("discriminator", self.discriminator)
        self._observe([(real_logits.detach(), fake_logits.detach())], values)

        terms, lazy = self._due_terms("generator", self.update)
        with self._frozen_discriminator(), self._frozen_statistics:
            # 4. Enc, Dec <- gradients of L_llike = -log N(Dis_l(X) | Dis_l(X~), error) up to a constant, and Enc that
            # of L_prior, both for each feature.
            error, features = self._feature_error(x, reconstructed)
            elbo = self.backward_part(0.5 * error.log() + self.beta * divergence / features, retain_graph=True)
            # 5. Dec <- gamma times that, and the gradient of -L_GAN = g_loss(Dis(fakes), Dis(X)) + terms, which goes
            # no further than Dec.
            of_decoder = [p for p in self.generator.parameters() if p.requires_grad]
            torch._foreach_mul_([p.grad for p in of_decoder if p.grad is not None], self.gamma)
            step.fake = fakes
            fake_logits, compared = self.discriminate_fakes(step)
            g_loss = self.loss.g_loss(fake_logits, compared)
            g_loss = self.backward_part(self._add_terms(g_loss, terms, step, values), inputs=of_decoder)
            # 6. Their steps; Dec's counts as the update.
            self.step_uncounted(optimizer_e.optimizer)
            self.step_counted(optimizer_g)
            self._lazy_step(optimizer_g.optimizer, lazy, self.generate_and_discriminate, step)
        self._project("generator", self.generator)

        values |= {"loss/divergence": divergence, "loss/feature_error": error}
        if self.log_due:
            values["loss/squared_error"] = (reconstructed.detach().float() - x).square().mean()
            values["reconstruction/unexplained"] = unexplained(x, reconstructed)
        losses = {"loss/discriminator": d_loss, "loss/generator": g_loss, "loss/elbo": elbo}
        self.end_step(losses, {**values, **self._lazy_values})

    def _feature_error(self, x: Tensor, reconstructed: Tensor) -> tuple[Tensor, int]:
        """The mean squared difference of D's features of both, each in a batch of its own, and how many a sample has.

        D's weights are not changed by it (section 2.3).
        """
        with torch.no_grad():
            wanted = stage_features(self.discriminator, self.stage, x).float()
        found = stage_features(self.discriminator, self.stage, reconstructed).float()
        return (found - wanted).square().mean(), wanted.numel() // len(x)

    def previews(self, reals: Tensor) -> dict[str, Tensor]:
        """``reconstructions``: each real beside what is decoded from the mean of its posterior."""
        return {"reconstructions": reconstruction_pairs(self.encoder, self.generator, reals)}
