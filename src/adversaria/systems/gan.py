"""A generator and a discriminator that learn from each other: the alternating steps as one linear story.

Goodfellow et al. 2014, "Generative Adversarial Nets", algorithm 1, with the steps of D and G as configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.ranges import Seed
from adversaria.core.schedules import value_at
from adversaria.core.types import (
    Batch,
    Constraint,
    DataSpec,
    DiscriminatorOutput,
    Network,
    Reparametrisation,
    Step,
    Term,
)
from adversaria.nn.latents import Latent
from adversaria.nn.layers.batch_norm import frozen_statistics, mixes_samples
from adversaria.nn.network import as_discriminator, as_generator
from adversaria.nn.prior import Prior
from adversaria.objectives.augment import adaptive
from adversaria.objectives.game import Game
from adversaria.objectives.logits import logit_summary
from adversaria.objectives.losses import AdversarialLoss
from adversaria.systems.base import SteppedModule, sum_of
from adversaria.systems.optim import Optim, make_optimizer


class GAN(SteppedModule):
    """Alternates ``optim.n_critic`` steps of D and one of G.

    Args:
        spec: of the data.
        generator: maps ``z [N, latent_dim]`` and labels ``[N]`` to samples ``[N, *spec.shape]``.
        discriminator: maps samples to `DiscriminatorOutput`.
        loss: the adversarial loss of D and of G.
        regulariser: terms, constraints and reparametrisations by name.
        augment: differentiable, applied to everything that D sees (see `adversaria.objectives.augment.Augmentation`).
        optim: optimizers, schedule and how often D steps.
        seed: of the run.
        latent: distribution of G's latents; None: standard normal.

    Raises:
        UserError: G and D do not agree on labels, D has no optimizer, or a part refuses the others: each may have a
            method ``check(gan)``.
    """

    network_names: tuple[str, ...] = ("generator", "discriminator")
    #: whether the i-th fake is made for the label or condition of the i-th real
    pairs = False

    def __init__(
        self,
        *,
        spec: DataSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        regulariser: Mapping[str, Term | Constraint | Reparametrisation],
        augment: nn.Module,
        optim: Optim,
        seed: Seed,
        latent: Latent | None = None,
    ) -> None:
        super().__init__(spec=spec, optim=optim, seed=seed)
        self.generator, self.discriminator, self.augment = generator, discriminator, augment
        said, judge = as_generator(generator), as_discriminator(discriminator)
        self.prior = Prior.of(generator, latent)
        self.forwards = {"generator": generator, "discriminator": discriminator}
        self.loss = loss
        self.terms = {name: part for name, part in regulariser.items() if isinstance(part, Term)}
        self.constraints = [part for part in regulariser.values() if isinstance(part, Constraint)]
        # Those with state are saved and restored with the networks.
        self.stateful_terms = nn.ModuleDict({n: t for n, t in self.terms.items() if isinstance(t, nn.Module)})
        #: what terms of a longer interval were when they were last due: those steps are seldom the logged ones
        self._lazy_values: dict[str, Tensor] = {}
        self.batches_per_step = optim.n_critic
        self.conditional = said.conditional
        if self.conditional != judge.conditional:
            raise UserError(
                "one of generator and discriminator is given labels and the other is not, their fields conditional "
                "differ: set both to the same value, or enclose the other, as generator=class_norm, "
                "discriminator=projected and discriminator=classifying do"
            )
        for role, network in (("generator", said), ("discriminator", judge)):
            if network.translates != self.pairs:
                raise UserError(
                    f"model.{role} takes {'pictures to edit' if network.translates else 'no conditions'}, which a "
                    f"{type(self).__name__} has {'none of' if network.translates else 'some of'}; choose another "
                    f"{role}, or {'model=pix2pix' if network.translates else 'model=dcgan'}"
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
        for part in regulariser.values():
            if isinstance(part, Reparametrisation):
                part.reparametrise(self.get_submodule(part.applies_to))
        # With BatchNorm the reals' and fakes' statistics would mix; without it one pass costs less than two.
        self.joint_pass = not mixes_samples(discriminator)
        self._frozen_statistics = frozen_statistics(discriminator)
        self._d_parameters = [p for p in discriminator.parameters() if p.requires_grad]
        follows = adaptive(augment)
        # methods, not the module, which is a part of this one already
        self._begin_augment, self._observe_reals, self._augment_values = (
            follows.begin_step,
            follows.observe,
            follows.values,
        )
        for any_part in (generator, discriminator, augment, *regulariser.values()):
            if check := getattr(any_part, "check", None):  # a part of a user's own need not have one
                check(self)

    @property
    def game(self) -> Game:
        """Its own."""
        return self

    def configure_optimizers(self) -> tuple[Optimizer, Optimizer]:
        """The optimizers of G and D, in this order."""
        assert self.optim.discriminator is not None
        scaled = self.trainer.precision == "16-mixed"
        # Again, because a callback may have frozen layers since, and the trainer put others in BatchNorm's place.
        self._frozen_statistics = frozen_statistics(self.discriminator)
        self._d_parameters = [p for p in self.discriminator.parameters() if p.requires_grad]
        return (
            make_optimizer(self.optim.generator, self.generator.parameters(), scaled_gradients=scaled),
            make_optimizer(self.optim.discriminator, self._d_parameters, scaled_gradients=scaled),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One generator update: ``n_critic`` steps of D, then one of G (Goodfellow et al. 2014, algorithm 1).

        Each step takes its loss over ``optim.accumulate`` microbatches. Terms of a longer interval step by themselves.

        Args:
            batch: ``n_critic`` times ``data.batch_size`` reals.
        """
        x, y = self.begin_step(batch)  # [n_critic * N, *shape], and [n_critic * N] if G and D are conditional
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        n_critic, accumulate = self.optim.n_critic, self.optim.accumulate
        values: dict[str, Tensor] = {}

        # 1. Fakes for all steps of D, from one pass of G without gradients.
        with torch.no_grad():
            z, fake_y = self._draw(len(x), y)
            drawn = self._step(x, y, z, self.forwards["generator"](z, fake_y), fake_y)

        for k, step in enumerate(drawn.microbatches(n_critic)):
            # 2. Gradients of L_D = d_loss(D(x), D(G(z))) + terms.
            terms, lazy = self._due_terms("discriminator", self.update * n_critic + k)
            d_losses, d_logits = [], []
            for part in step.microbatches(accumulate):
                real_logits, fake_logits = self.discriminate(part)
                loss = self.loss.d_loss(real_logits, fake_logits)
                d_losses.append(self.backward_part(self._add_terms(loss, terms, part, values)))
                d_logits.append((real_logits.detach(), fake_logits.detach()))
            # 3. D's step.
            self.step_uncounted(optimizer_d.optimizer)
            self._lazy_step(optimizer_d.optimizer, lazy, self.discriminate, step)
            self._project("discriminator", self.discriminator)
            self._observe(d_logits, values)

        # 4. Gradients of L_G = g_loss(D(G(z)), D(x)) + terms. D's weights need none here, and its running statistics
        # belong to its own steps.
        x = x[-self.datamodule.batch_size :]
        z, fake_y = self._draw(self.optim.generator_batch or len(x), y)
        step = self._step(x, None if y is None else y[-len(x) :], z, x[:0], fake_y)  # G(z) is made part by part
        terms, lazy = self._due_terms("generator", self.update)
        g_losses = []
        with self._frozen_discriminator(), self._frozen_statistics:
            for part in step.microbatches(accumulate):
                fake_logits, compared = self.generate_and_discriminate(part)
                loss = self.loss.g_loss(fake_logits, compared)
                g_losses.append(self.backward_part(self._add_terms(loss, terms, part, values)))
            # 5. G's step, the one that counts as an update.
            self.step_counted(optimizer_g)
            self._lazy_step(optimizer_g.optimizer, lazy, self.generate_and_discriminate, step)
        self._project("generator", self.generator)

        losses = {"loss/discriminator": sum_of(d_losses), "loss/generator": sum_of(g_losses)}
        self.end_step(losses, {**values, **self._lazy_values})

    def begin_step(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """As every system does, with what the networks are given; the augmentation knows how far the run is."""
        x, y = super().begin_step(batch)
        self._begin_augment(self.now)
        return x, self.beside(x, y)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what lazy terms last were, so that a run that goes on logs what an uninterrupted one does."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["lazy_values"] = self._lazy_values

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse of `on_save_checkpoint`."""
        super().on_load_checkpoint(checkpoint)
        self._lazy_values = {n: value.to(self.device) for n, value in checkpoint.get("lazy_values", {}).items()}

    def _lazy_step(
        self, optimizer: Optimizer, lazy: Mapping[str, Term], forward: Callable[[Step], object], step: Step
    ) -> None:
        """A step of the terms of a longer interval alone (see `Term`); its gradient norm is not the one to log."""
        if not lazy:
            return
        log_due, self.log_due = self.log_due, False
        values: dict[str, Tensor] = {}
        # a term of a user's own need not say so
        outputs = any(getattr(term, "uses_outputs", True) for term in lazy.values())
        for part in step.microbatches(self.optim.accumulate):
            if outputs:
                forward(part)
            self.backward_part(self._add_terms(torch.zeros((), device=self.device), lazy, part, values))
        self.step_uncounted(optimizer)
        self._lazy_values |= {name: value.detach() for name, value in values.items()}
        self.log_due = log_due

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

    def discriminate(self, step: Step) -> tuple[Tensor, Tensor]:
        """D's logits of augmented reals and fakes, in one pass where the architecture allows it; ``step`` gets all that
        D said."""
        real, labels, fake, fake_labels = step.real, step.real_labels, step.fake, step.fake_labels
        discriminator = self.forwards["discriminator"]
        if self.joint_pass:
            both = None if labels is None or fake_labels is None else torch.cat([labels, fake_labels])
            output: DiscriminatorOutput = discriminator(*step.shown(torch.cat([real, fake]), both))
            outputs = _rows(output, slice(None, len(real))), _rows(output, slice(len(real), None))
        else:
            outputs = discriminator(*step.shown(real, labels)), discriminator(*step.shown(fake, fake_labels))
        step.real_output, step.fake_output = outputs
        return outputs[0].logits, outputs[1].logits

    def generate_and_discriminate(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """D's logits of new fakes, and of the reals where the loss compares the two; ``step`` gets all of it."""
        step.fake = self.forwards["generator"](step.latents, step.fake_labels)
        return self.discriminate_fakes(step)

    def discriminate_fakes(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """D's logits of the fakes, and of the reals where the loss compares the two; ``step`` gets all that D said."""
        discriminator = self.forwards["discriminator"]
        fake: DiscriminatorOutput = discriminator(*step.shown(step.fake, step.fake_labels))
        step.fake_output = fake
        if not self.loss.needs_real_logits:
            return fake.logits, None
        with torch.no_grad():
            real: DiscriminatorOutput = discriminator(*step.shown(step.real, step.real_labels))
        step.real_output = real
        return fake.logits, real.logits

    def _observe(self, logits: list[tuple[Tensor, Tensor]], values: dict[str, Tensor]) -> None:
        """Shows D's logits of the reals to the augmentation; ``values`` gets a summary of all logits if it is due."""
        self._observe_reals(logits[0][0] if len(logits) == 1 else torch.cat([real for real, _ in logits]))
        if self.log_due:
            values |= logit_summary(*(torch.cat(parts).flatten() for parts in zip(*logits, strict=True)))
            values |= self._augment_values()

    def _due_terms(self, network: Network, index: int) -> tuple[dict[str, Term], dict[str, Term]]:
        """The terms of ``network`` that are due at step ``index``: those of every step, and the lazy ones."""
        due = {n: t for n, t in self.terms.items() if t.applies_to == network and index % t.interval == 0}
        return {n: t for n, t in due.items() if t.interval == 1}, {n: t for n, t in due.items() if t.interval > 1}

    def _add_terms(self, loss: Tensor, due: Mapping[str, Term], step: Step, values: dict[str, Tensor]) -> Tensor:
        """``loss`` and the weighted terms; each term also goes into ``values``."""
        for name, term in due.items():
            values[f"loss/{name}"] = value = term(step)
            raised = self.rollback_factor("penalty_factor") if term.applies_to == "discriminator" else 1.0
            loss = loss + raised * value_at(term.weight, step.progress) * term.interval * value
        return loss

    def _project(self, network: Network, module: nn.Module) -> None:
        for constraint in self.constraints:
            if constraint.applies_to == network:
                constraint.project(module)

    def _step(
        self, real: Tensor, labels: Tensor | None, latents: Tensor, fake: Tensor, fake_labels: Tensor | None
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
            real_output=None,
            fake_output=None,
            progress=self.now,
        )

    def _draw(self, count: int, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Latents ``[count, latent_dim]`` and as many labels, drawn from those of this update's reals.

        A loss that compares the i-th fake with the i-th real gets pairs of one class.
        """
        weight = next(self.generator.parameters())
        latents = self.prior.draw(count, device=weight.device).to(weight.dtype)
        if labels is None:
            return latents, None
        if self.pairs or self.loss.needs_real_logits:
            return latents, labels[-count:]
        return latents, labels[torch.randint(len(labels), (count,), device=labels.device)]


def _rows(output: DiscriminatorOutput, rows: slice) -> DiscriminatorOutput:
    """The outputs for some of the samples."""
    features, class_logits = (None if t is None else t[rows] for t in output[1:])
    return DiscriminatorOutput(output.logits[rows], features, class_logits)
