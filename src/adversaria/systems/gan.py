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
from adversaria.nn.latents import Latent, Normal
from adversaria.nn.layers.batch_norm import frozen_statistics, mixes_samples
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
        penalty: terms, constraints and reparametrisations by name.
        augment: differentiable, applied to everything that D sees. One that adapts has ``begin_step(progress)``, called
            before each update, ``observe(real_logits)``, called after each D step, or ``values()`` for the loggers.
        optim: optimizers, schedule and how often D steps.
        seed: of the run.
        latent: distribution of G's latents; None: standard normal.

    Raises:
        UserError: G and D do not agree on labels, D has no optimizer, or a part refuses the others: each may have a
            method ``check(gan)``.
    """

    network_names = ("generator", "discriminator")

    def __init__(
        self,
        *,
        spec: DataSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        penalty: Mapping[str, Term | Constraint | Reparametrisation],
        augment: nn.Module,
        optim: Optim,
        seed: Seed,
        latent: Latent | None = None,
    ) -> None:
        super().__init__(spec=spec, optim=optim, seed=seed)
        self.generator, self.discriminator, self.augment = generator, discriminator, augment
        self.generator.latent = latent or Normal()  # type: ignore[assignment]  # what its `sample_latent` draws
        self.forwards = {"generator": generator, "discriminator": discriminator}
        self.loss = loss
        self.terms = {name: part for name, part in penalty.items() if isinstance(part, Term)}
        self.constraints = [part for part in penalty.values() if isinstance(part, Constraint)]
        # Those with state are saved and restored with the networks.
        self.stateful_terms = nn.ModuleDict({n: t for n, t in self.terms.items() if isinstance(t, nn.Module)})
        #: what terms of a longer interval were when they were last due: those steps are seldom the logged ones
        self._lazy_values: dict[str, Tensor] = {}
        self.batches_per_step = optim.n_critic
        self.conditional = bool(getattr(generator, "conditional", False))
        if self.conditional != bool(getattr(discriminator, "conditional", False)):
            raise UserError(
                "one of generator and discriminator is given labels and the other is not, their fields conditional "
                "differ: set both to the same value, or enclose the other, as generator=class_norm, "
                "discriminator=projected and discriminator=classifying do"
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
        for part in penalty.values():
            if isinstance(part, Reparametrisation):
                part.reparametrise(self.get_submodule(part.applies_to))
        # With BatchNorm the reals' and fakes' statistics would mix; without it one pass costs less than two.
        self.joint_pass = not mixes_samples(discriminator)
        self._frozen_statistics = frozen_statistics(discriminator)
        self._d_parameters = [p for p in discriminator.parameters() if p.requires_grad]
        self._begin_augment = getattr(augment, "begin_step", None)
        self._observe = getattr(augment, "observe", None)
        for any_part in (generator, discriminator, augment, *penalty.values()):
            if check := getattr(any_part, "check", None):
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
        """One generator update. ``batch`` holds ``n_critic`` times ``data.batch_size`` reals."""
        real, labels = self.begin_step(batch)
        labels = labels if self.conditional else None
        if self._begin_augment is not None:
            self._begin_augment(self.now)
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        n_critic = self.optim.n_critic

        # One pass of G, without gradients, makes the fakes of all D steps of this update.
        with torch.no_grad():
            latents, fake_labels = self._draw(len(real), labels)
            fake = self.forwards["generator"](latents, fake_labels)
        whole = self._step(real, labels, latents, fake, fake_labels)
        values: dict[str, Tensor] = {}
        for k, part in enumerate(whole.parts(n_critic)):
            d_loss = self._discriminator_step(optimizer_d.optimizer, self.update * n_critic + k, part, values)

        g_loss = self._generator_step(optimizer_g, real[-self.datamodule.batch_size :], labels, values)
        losses = {"loss/discriminator": d_loss, "loss/generator": g_loss}
        self.end_step(losses, {**values, **self._lazy_values})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what lazy terms last were, so that a run that goes on logs what an uninterrupted one does."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["lazy_values"] = self._lazy_values

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse of `on_save_checkpoint`."""
        super().on_load_checkpoint(checkpoint)
        self._lazy_values = {n: value.to(self.device) for n, value in checkpoint.get("lazy_values", {}).items()}

    def _discriminator_step(self, optimizer: Optimizer, index: int, whole: Step, values: dict[str, Tensor]) -> Tensor:
        """One step of D on reals and fakes of equal number; ``index`` counts D steps over the whole run."""
        due, lazy = self._due_terms("discriminator", index)
        losses, logits = [], []
        for step in whole.parts(self.optim.accumulate):
            real, fake = self._judge(step)
            loss = self._add_terms(self.loss.d_loss(real.logits, fake.logits), due, step, values)
            losses.append(self.backward_part(loss))
            logits.append((real.logits.detach(), fake.logits.detach()))
        self.step_uncounted(optimizer)
        if lazy:
            self._lazy_step(optimizer, lazy, self._judge, whole)
        self._project("discriminator", self.discriminator)
        if self._observe is not None:
            self._observe(torch.cat([real_logits for real_logits, _ in logits]))
        if self.log_due:
            values |= logit_summary(*(torch.cat(parts).flatten() for parts in zip(*logits, strict=True)))
            values |= getattr(self.augment, "values", dict)()
        return sum_of(losses)

    def _generator_step(self, optimizer: Any, real: Tensor, labels: Tensor | None, values: dict[str, Tensor]) -> Tensor:
        """One step of G, the one that counts as an update."""
        latents, fake_labels = self._draw(self.optim.generator_batch or len(real), labels)
        real_labels = None if labels is None else labels[-len(real) :]
        whole = self._step(real, real_labels, latents, real[:0], fake_labels)  # the fakes are made part by part
        due, lazy = self._due_terms("generator", self.update)
        losses = []
        # D's weights need no gradient here and its running statistics belong to its own steps.
        with self._frozen_discriminator(), self._frozen_statistics:
            for step in whole.parts(self.optim.accumulate):
                real_output, fake_output = self._fool(step)
                loss = self.loss.g_loss(fake_output.logits, None if real_output is None else real_output.logits)
                losses.append(self.backward_part(self._add_terms(loss, due, step, values)))
            self.step_counted(optimizer)
            if lazy:
                self._lazy_step(optimizer.optimizer, lazy, self._fool, whole)
        self._project("generator", self.generator)
        return sum_of(losses)

    def _lazy_step(
        self, optimizer: Optimizer, lazy: Mapping[str, Term], judge: Callable[[Step], object], whole: Step
    ) -> None:
        """A step of the terms of a longer interval alone (see `Term`); its gradient norm is not the one to log."""
        log_due, self.log_due = self.log_due, False
        values: dict[str, Tensor] = {}
        outputs = any(getattr(term, "uses_outputs", True) for term in lazy.values())
        for step in whole.parts(self.optim.accumulate):
            if outputs:
                judge(step)
            self.backward_part(self._add_terms(torch.zeros((), device=self.device), lazy, step, values))
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

    def _judge(self, step: Step) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """What D says of augmented reals and fakes, in one pass where the architecture allows it; ``step`` gets it."""
        real, labels, fake, fake_labels = step.real, step.real_labels, step.fake, step.fake_labels
        discriminator = self.forwards["discriminator"]
        if self.joint_pass:
            both = None if labels is None or fake_labels is None else torch.cat([labels, fake_labels])
            output: DiscriminatorOutput = discriminator(self.augment(torch.cat([real, fake])), both)
            outputs = _rows(output, slice(None, len(real))), _rows(output, slice(len(real), None))
        else:
            outputs = discriminator(self.augment(real), labels), discriminator(self.augment(fake), fake_labels)
        step.real_output, step.fake_output = outputs
        return outputs

    def _fool(self, step: Step) -> tuple[DiscriminatorOutput | None, DiscriminatorOutput]:
        """New fakes and what D says of them, and of the reals where the loss compares the two; ``step`` gets all."""
        discriminator = self.forwards["discriminator"]
        step.fake = self.forwards["generator"](step.latents, step.fake_labels)
        step.fake_output = output = discriminator(self.augment(step.fake), step.fake_labels)
        if self.loss.needs_real_logits:
            with torch.no_grad():
                step.real_output = discriminator(self.augment(step.real), step.real_labels)
        return step.real_output, output

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
        latents: Tensor = self.generator.sample_latent(count)  # type: ignore[operator]
        if labels is None:
            return latents, None
        if self.loss.needs_real_logits:
            return latents, labels[-count:]
        return latents, labels[torch.randint(len(labels), (count,), device=labels.device)]


def _rows(output: DiscriminatorOutput, rows: slice) -> DiscriminatorOutput:
    """The outputs for some of the samples."""
    features, class_logits = (None if t is None else t[rows] for t in output[1:])
    return DiscriminatorOutput(output.logits[rows], features, class_logits)
