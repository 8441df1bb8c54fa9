"""A generator and a discriminator that learn from each other: the alternating steps as one linear story.

Goodfellow et al. 2014, "Generative Adversarial Nets", algorithm 1, with the steps of D and G as configured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adversaria.errors import UserError
from adversaria.layers.batch_norm import frozen_statistics, mixes_samples
from adversaria.losses import AdversarialLoss
from adversaria.optim import Optim, make_optimizer
from adversaria.stepping import SteppedModule, sum_of
from adversaria.types import Batch, Constraint, DataSpec, DiscriminatorOutput, Step, Term


class GAN(SteppedModule):
    """Alternates ``optim.n_critic`` steps of D and one of G.

    Args:
        spec: of the data.
        generator: maps ``z [N, latent_dim]`` and labels ``[N]`` to samples ``[N, *spec.shape]``.
        discriminator: maps samples to `DiscriminatorOutput`.
        loss: the adversarial loss of D and of G.
        penalty: terms and constraints by name.
        augment: differentiable, applied to everything that D sees.
        optim: optimizers, schedule and how often D steps.
        seed: of the run.

    Raises:
        UserError: G and D do not agree on labels, D has no optimizer, or a penalty is neither term nor constraint.
    """

    network_names = ("generator", "discriminator")

    def __init__(
        self,
        *,
        spec: DataSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        penalty: Mapping[str, Term | Constraint],
        augment: nn.Module,
        optim: Optim,
        seed: int,
    ) -> None:
        super().__init__(spec=spec, optim=optim, seed=seed)
        self.generator, self.discriminator, self.augment = generator, discriminator, augment
        self.loss = loss
        self.terms = {name: part for name, part in penalty.items() if isinstance(part, Term)}
        self.constraints = [part for part in penalty.values() if isinstance(part, Constraint)]
        self.batches_per_step = optim.n_critic
        self.conditional = bool(getattr(generator, "conditional", False))
        if self.conditional != bool(getattr(discriminator, "conditional", False)):
            raise UserError(
                "model.generator.conditional and model.discriminator.conditional differ; set both to the same value"
            )
        if optim.discriminator is None:
            raise UserError(
                "optim.discriminator is null, but a GAN needs an optimizer for D; choose one as in optim=adam"
            )
        if loss.needs_real_logits and optim.generator_batch is not None:
            raise UserError(
                f"optim.generator_batch={optim.generator_batch} cannot go with a relativistic loss, which compares "
                "reals and fakes in the G step; set it to null"
            )
        # With BatchNorm the reals' and fakes' statistics would mix; without it one pass costs less than two.
        self.joint_pass = not mixes_samples(discriminator)
        self._frozen_statistics = frozen_statistics(discriminator)
        self._d_parameters = [p for p in discriminator.parameters() if p.requires_grad]

    @property
    def sampler(self) -> nn.Module:
        """The generator."""
        return self.generator

    def configure_optimizers(self) -> tuple[Optimizer, Optimizer]:
        """The optimizers of G and D, in this order."""
        assert self.optim.discriminator is not None
        scaled = self.trainer.precision == "16-mixed"
        return (
            make_optimizer(self.optim.generator, self.generator.parameters(), scaled_gradients=scaled),
            make_optimizer(self.optim.discriminator, self.discriminator.parameters(), scaled_gradients=scaled),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One generator update. ``batch`` holds ``n_critic`` times ``data.batch_size`` reals."""
        real, labels = self.begin_step(batch)
        labels = labels if self.conditional else None
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        n_critic = self.optim.n_critic

        # One pass of G, without gradients, makes the fakes of all D steps of this update.
        with torch.no_grad():
            latents, fake_labels = self._draw(len(real), labels)
            fake = self.generator(latents, fake_labels)
        parts = self._parts(n_critic, real, labels, latents, fake, fake_labels)
        values: dict[str, Tensor] = {}
        for k, part in enumerate(parts):
            d_loss = self._discriminator_step(optimizer_d.optimizer, self.update * n_critic + k, part, values)

        g_loss = self._generator_step(optimizer_g, real[-self.datamodule.batch_size :], labels, values)
        self.end_step(d_loss + g_loss, {"loss/discriminator": d_loss, "loss/generator": g_loss, **values})

    def _discriminator_step(
        self, optimizer: Optimizer, index: int, batch: tuple[Tensor | None, ...], values: dict[str, Tensor]
    ) -> Tensor:
        """One step of D on reals and fakes of equal number; ``index`` counts D steps over the whole run."""
        losses = []
        for real, labels, latents, fake, fake_labels in self._parts(self.optim.accumulate, *batch):
            assert real is not None
            assert latents is not None
            assert fake is not None
            real_output, fake_output = self._discriminate(real, labels, fake, fake_labels)
            loss = self.loss.d_loss(real_output.logits, fake_output.logits)
            if due := self._due_terms("discriminator", index):
                step = self._step(real, labels, latents, fake, fake_labels, real_output, fake_output)
                loss = self._add_terms(loss, due, step, values)
            losses.append(self.backward_part(loss))
        self.step_uncounted(optimizer)
        self._project("discriminator", self.discriminator)
        if self.log_due:
            for name, output in (("real", real_output), ("fake", fake_output)):
                logits = output.logits.detach().float()
                values |= {f"logits/{name}_mean": logits.mean(), f"logits/{name}_std": logits.std(correction=0)}
        return sum_of(losses)

    def _generator_step(self, optimizer: Any, real: Tensor, labels: Tensor | None, values: dict[str, Tensor]) -> Tensor:
        """One step of G, the one that counts as an update."""
        count = self.optim.generator_batch or len(real)
        real_labels = None if labels is None else labels[-len(real) :]
        latents, fake_labels = self._draw(count, labels)
        losses = []
        # D's weights need no gradient here and its running statistics belong to its own steps.
        with self._frozen_discriminator(), self._frozen_statistics:
            for z, y, x, x_labels in self._parts(self.optim.accumulate, latents, fake_labels, real, real_labels):
                assert z is not None
                assert x is not None
                fake = self.generator(z, y)
                fake_output: DiscriminatorOutput = self.discriminator(self.augment(fake), y)
                real_output = None
                if self.loss.needs_real_logits:
                    with torch.no_grad():
                        real_output = self.discriminator(self.augment(x), x_labels)
                loss = self.loss.g_loss(fake_output.logits, None if real_output is None else real_output.logits)
                if due := self._due_terms("generator", self.update):
                    step = self._step(x, x_labels, z, fake, y, real_output, fake_output)
                    loss = self._add_terms(loss, due, step, values)
                losses.append(self.backward_part(loss))
            self.step_counted(optimizer)
        self._project("generator", self.generator)
        return sum_of(losses)

    @contextmanager
    def _frozen_discriminator(self) -> Iterator[None]:
        """D's weights take no gradients inside the block."""
        for parameter in self._d_parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._d_parameters:
                parameter.requires_grad_(True)

    def _discriminate(
        self, real: Tensor, labels: Tensor | None, fake: Tensor, fake_labels: Tensor | None
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """D's outputs for augmented reals and fakes, in one pass where the architecture allows it."""
        if not self.joint_pass:
            return self.discriminator(self.augment(real), labels), self.discriminator(self.augment(fake), fake_labels)
        both_labels = None if labels is None or fake_labels is None else torch.cat([labels, fake_labels])
        output: DiscriminatorOutput = self.discriminator(self.augment(torch.cat([real, fake])), both_labels)
        n = len(real)
        return _rows(output, slice(None, n)), _rows(output, slice(n, None))

    def _due_terms(self, network: Literal["discriminator", "generator"], index: int) -> dict[str, Term]:
        """The terms of ``network`` that are due at step ``index`` (see `Term`)."""
        return {n: t for n, t in self.terms.items() if t.applies_to == network and index % t.interval == 0}

    @staticmethod
    def _add_terms(loss: Tensor, due: Mapping[str, Term], step: Step, values: dict[str, Tensor]) -> Tensor:
        """``loss`` and the weighted terms; each term also goes into ``values``."""
        for name, term in due.items():
            values[f"loss/{name}"] = value = term(step)
            loss = loss + term.weight * term.interval * value
        return loss

    def _project(self, network: Literal["discriminator", "generator"], module: nn.Module) -> None:
        for constraint in self.constraints:
            if constraint.applies_to == network:
                constraint.project(module)

    def _step(
        self,
        real: Tensor,
        labels: Tensor | None,
        latents: Tensor,
        fake: Tensor,
        fake_labels: Tensor | None,
        real_output: DiscriminatorOutput | None,
        fake_output: DiscriminatorOutput,
    ) -> Step:
        return Step(
            generator=self.generator,
            discriminator=self.discriminator,
            augment=self.augment,
            real=real,
            fake=fake,
            real_labels=labels,
            fake_labels=fake_labels,
            latents=latents,
            real_output=real_output,
            fake_output=fake_output,
            images_seen=self.images_seen,
        )

    def _draw(self, count: int, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Latents ``[count, latent_dim]`` and as many labels, drawn from those of this update's reals."""
        latents: Tensor = self.generator.sample_latent(count)  # type: ignore[operator]
        if labels is None:
            return latents, None
        return latents, labels[torch.randint(len(labels), (count,), device=labels.device)]

    @staticmethod
    def _parts(count: int, *tensors: Tensor | None) -> Iterator[tuple[Tensor | None, ...]]:
        """The tensors cut along the first dimension into ``count`` equal parts, None for None."""
        if count == 1:
            return iter([tensors])
        chunks = [[None] * count if t is None else list(t.tensor_split(count)) for t in tensors]
        return zip(*chunks, strict=True)


def _rows(output: DiscriminatorOutput, rows: slice) -> DiscriminatorOutput:
    """The outputs for some of the samples."""
    features, class_logits = (None if t is None else t[rows] for t in output[1:])
    return DiscriminatorOutput(output.logits[rows], features, class_logits)
