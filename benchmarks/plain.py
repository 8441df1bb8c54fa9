"""The recipe of an experiment as a loop in bare PyTorch, written plainly or with each means of speed by its own switch.

With no means switched on, `Loop` is what one finds in public repositories: float32, contiguous images, a `DataLoader`
with workers that convert image by image as torchvision's transforms do, an optimizer that is not fused, new fakes and
two passes of D for each D step, gradients of D's weights in the G step too, an average of weights by a Python loop, and
both losses read at each step. With all of them it is what one would write for speed, without a framework.

Both are the same recipe on their own copies of the same networks: losses, terms and their intervals, constraints,
augmentation, batch sizes, schedules and optimizer settings are those of the experiment.
"""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from adversaria.core.schedules import Progress, value_at
from adversaria.core.types import DiscriminatorOutput, Step
from adversaria.nn.layers import mixes_samples
from adversaria.nn.layers.batch_norm import frozen_statistics
from adversaria.systems.optim import make_optimizer
from adversaria.training.experiment import Experiment


@dataclass(frozen=True)
class Means:
    """Means of speed, each on its own.

    Attributes:
        bf16: passes of the networks under bfloat16 autocast.
        channels_last: weights and images as ``[N, H, W, C]`` in memory.
        resident: the data as uint8 tensors on the device, mirrored there, instead of a `DataLoader` with workers.
        fused: one kernel for an optimizer step, where the recipe's optimizer has one.
        one_fake_pass: one pass of G makes the fakes of all D steps of an update.
        joint: reals and fakes pass through D together, where no BatchNorm would mix them.
        frozen: D's weights take no gradients in the G step.
        foreach: the average of weights in a few calls.
        quiet: losses are not read.
        compiled: G and D through `torch.compile`; the terms stay eager, many differentiate twice.
    """

    bf16: bool = False
    channels_last: bool = False
    resident: bool = False
    fused: bool = False
    one_fake_pass: bool = False
    joint: bool = False
    frozen: bool = False
    foreach: bool = False
    quiet: bool = False
    compiled: bool = False

    @classmethod
    def all(cls, **but: bool) -> Means:
        """All of them ``but`` compilation, unless that is given."""
        return replace(cls(**{field.name: True for field in fields(cls)}), **{"compiled": False, **but})


class Loop:
    """Alternates the steps of D and G and nothing else.

    Args:
        experiment: of a GAN; its networks are copied, so that it can train as well.
        device: to train on.
        means: of speed.
        workers: processes that read, unless the data are resident.
    """

    def __init__(self, experiment: Experiment, device: torch.device, means: Means, workers: int = 2) -> None:
        system: Any = experiment.system
        parts = (system.generator, system.discriminator, system.augment, system.terms, system.constraints)
        self.generator, self.discriminator, self.augment, self.terms, self.constraints = copy.deepcopy(parts)
        layout = torch.channels_last if means.channels_last else torch.contiguous_format
        for module in (self.generator, self.discriminator, self.augment, *self.terms.values()):
            if isinstance(module, nn.Module):
                module.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.device, self.means, self.layout = device, means, layout
        self.loss, self.optim, self.conditional = system.loss, system.optim, system.conditional
        self.prior = system.prior
        self.joint = means.joint and not mixes_samples(self.discriminator)
        if means.compiled:
            self.generator.compile(dynamic=False)
            self.discriminator.compile(dynamic=False)
        adapt: Callable[[Any], Any] = (lambda factory: factory) if means.fused else _unfused
        self.optimizers = [
            make_optimizer(adapt(factory), network.parameters(), scaled_gradients=False)
            for factory, network in (
                (system.optim.generator, self.generator),
                (system.optim.discriminator, self.discriminator),
            )
        ]
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self._averaged = [[t.detach() for t in tensors(self.average)] for tensors in _STATES]
        self._source = [[t.detach() for t in tensors(self.generator)] for tensors in _STATES]
        self._d_parameters = list(self.discriminator.parameters())
        self._frozen_statistics = frozen_statistics(self.discriminator)
        self.data, self.batch_size = experiment.data, experiment.data.batch_size
        self.updates, self.update = experiment.config["trainer"]["max_steps"], 0
        self.read = [0.0, 0.0]
        self._chunks = self._resident() if means.resident else self._loaded(workers)

    def run(self, updates: int) -> None:
        """Trains for ``updates`` generator updates."""
        for _ in range(updates):
            images = self.optim.n_critic * self.batch_size
            now = Progress(self.update, self.updates, self.update * images, self.updates * images)
            self.optim.set_rates(self.optimizers, now)
            if begin := getattr(self.augment, "begin_step", None):
                begin(now)
            steps = [self._step(*next(self._chunks), now) for _ in range(self.optim.n_critic)]
            labels = (
                torch.cat([step.real_labels for step in steps if step.real_labels is not None])
                if self.conditional
                else None
            )
            for k, (step, fakes) in enumerate(zip(steps, self._fakes(labels), strict=True)):
                step.fake, step.latents, step.fake_labels = fakes
                self._discriminator_step(step, self.update * self.optim.n_critic + k)
            self._generator_step(steps[-1], labels)
            self.update += 1
            self._move_average()

    def close(self) -> None:
        """Ends the processes that read."""
        self._chunks.close()

    def _discriminator_step(self, step: Step, index: int) -> None:
        with self._precision():
            real, fake = self._discriminate(step)
            loss = self._plus(self.loss.d_loss(real.logits, fake.logits), step, "discriminator", index, lazy=False)
        self._descend(1, loss)
        if self._has_lazy("discriminator", index):
            self._lazy_step(1, step, "discriminator", index, self._discriminate)
        if observe := getattr(self.augment, "observe", None):
            observe(real.logits.detach())
        self._finish("discriminator", self.discriminator, loss, 1)

    def _generator_step(self, real: Step, labels: Tensor | None) -> None:
        latents, fake_labels = self._draw(self.optim.generator_batch or self.batch_size, labels)
        step = replace(real, latents=latents, fake_labels=fake_labels, real_output=None, fake_output=None)
        frozen = self._d_parameters if self.means.frozen else []
        for parameter in frozen:
            parameter.requires_grad_(False)
        with self._frozen_statistics if self.means.frozen else nullcontext():
            with self._precision():
                real_output, fake_output = self._generate_and_discriminate(step)
                loss = self.loss.g_loss(fake_output.logits, None if real_output is None else real_output.logits)
                loss = self._plus(loss, step, "generator", self.update, lazy=False)
            self._descend(0, loss)
            if self._has_lazy("generator", self.update):
                self._lazy_step(0, step, "generator", self.update, self._generate_and_discriminate)
        for parameter in frozen:
            parameter.requires_grad_(True)
        self._finish("generator", self.generator, loss, 0)

    def _discriminate(self, step: Step) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """What D says of reals and fakes."""
        discriminator, augment, n = self.discriminator, self.augment, len(step.real)
        if self.joint:
            real, fake = step.real_labels, step.fake_labels
            labels = None if real is None or fake is None else torch.cat([real, fake])
            both = discriminator(augment(torch.cat([step.real, step.fake])), labels)
            halves = [None if t is None else (t[:n], t[n:]) for t in both]
            step.real_output, step.fake_output = (
                DiscriminatorOutput(*(None if pair is None else pair[k] for pair in halves))  # type: ignore[arg-type]
                for k in (0, 1)
            )
        else:
            step.real_output = discriminator(augment(step.real), step.real_labels)
            step.fake_output = discriminator(augment(step.fake), step.fake_labels)
        return step.real_output, step.fake_output

    def _generate_and_discriminate(self, step: Step) -> tuple[DiscriminatorOutput | None, DiscriminatorOutput]:
        """What D says of new fakes, and of the reals where the loss compares the two."""
        step.fake = self.generator(step.latents, step.fake_labels)
        step.fake_output = self.discriminator(self.augment(step.fake), step.fake_labels)
        if self.loss.needs_real_logits:
            with torch.no_grad():
                step.real_output = self.discriminator(self.augment(step.real), step.real_labels)
        return step.real_output, step.fake_output

    def _plus(self, loss: Tensor, step: Step, network: str, index: int, *, lazy: bool) -> Tensor:
        """``loss`` and the weighted terms that are due; the lazy ones, or those of every step."""
        for term in self.terms.values():
            if term.applies_to == network and index % term.interval == 0 and lazy == (term.interval > 1):
                with torch.compiler.set_stance("force_eager") if self.means.compiled else nullcontext():
                    loss = loss + value_at(term.weight, step.progress) * term.interval * term(step)
        return loss

    def _has_lazy(self, network: str, index: int) -> bool:
        return any(t.applies_to == network and t.interval > 1 and index % t.interval == 0 for t in self.terms.values())

    def _lazy_step(self, which: int, step: Step, network: str, index: int, forward: Callable[[Step], Any]) -> None:
        """A step of the lazy terms alone, as `adversaria.core.types.Term` has it."""
        with self._precision():
            lazy = [t for t in self.terms.values() if t.applies_to == network and t.interval > 1]
            if any(getattr(term, "uses_outputs", True) for term in lazy):
                forward(step)
            loss = self._plus(torch.zeros((), device=self.device), step, network, index, lazy=True)
        self._descend(which, loss)

    def _descend(self, which: int, loss: Tensor) -> None:
        optimizer = self.optimizers[which]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.optim.clip_norm is not None:
            nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], self.optim.clip_norm)
        optimizer.step()

    def _finish(self, network: str, module: nn.Module, loss: Tensor, which: int) -> None:
        for constraint in self.constraints:
            if constraint.applies_to == network:
                constraint.project(module)
        if not self.means.quiet:
            self.read[which] = loss.item()

    @torch.no_grad()
    def _move_average(self) -> None:
        if self.means.foreach:
            torch._foreach_lerp_(self._averaged[0], self._source[0], 0.001)
            if self._source[1]:
                torch._foreach_copy_(self._averaged[1], self._source[1])
            return
        for average, source in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            average.mul_(0.999).add_(source, alpha=0.001)
        for average, source in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            average.copy_(source)

    def _fakes(self, real_labels: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Fakes, latents and labels of each D step of an update, whose reals have ``real_labels``."""
        passes = 1 if self.means.one_fake_pass else self.optim.n_critic
        parts = self.optim.n_critic // passes
        for _ in range(passes):
            latents, labels = self._draw(parts * self.batch_size, real_labels)
            with torch.no_grad(), self._precision():
                fake = self.generator(latents, labels)
            cut = [[None] * parts if t is None else t.tensor_split(parts) for t in (fake, latents, labels)]
            yield from zip(*cut, strict=True)

    def _draw(self, count: int, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        latents = self.prior.draw(count, device=self.device)
        if labels is None:
            return latents, None
        if self.loss.needs_real_logits:
            return latents, labels[-count:]
        return latents, labels[torch.randint(len(labels), (count,), device=labels.device)]

    def _step(self, real: Tensor, labels: Tensor | None, now: Progress) -> Step:
        return Step(
            generator=self.generator,
            discriminator=self.discriminator,
            augment=self.augment,
            real=real,
            fake=real[:0],
            real_labels=labels if self.conditional else None,
            fake_labels=None,
            latents=real[:0],
            real_output=None,
            fake_output=None,
            progress=now,
        )

    def _precision(self) -> Any:
        # Without its cache, which would hold on to casts of weights that a step has changed since.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False) if self.means.bf16 else _NOTHING

    def _resident(self) -> Generator[tuple[Tensor, Tensor | None], None, None]:
        """Reals and labels of each D step, from the device."""
        n_critic = self.optim.n_critic
        for batch in self.data.loader(0, 0, 1, n_critic * self.batch_size, self.device):
            real, labels = self.data.decode(batch)
            real = real if real.ndim < 4 else real.contiguous(memory_format=self.layout)
            cut = [None] * n_critic if labels is None else labels.tensor_split(n_critic)
            yield from zip(real.tensor_split(n_critic), cut, strict=True)

    def _loaded(self, workers: int) -> Generator[tuple[Tensor, Tensor | None], None, None]:
        """Reals and labels of each D step, converted one by one in other processes."""
        items = Items(self.data)
        loader = DataLoader(
            items,
            self.batch_size,
            # without an end: starting the workers again for each epoch would not be the loop's fault
            sampler=RandomSampler(items, num_samples=10**12),
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="fork" if workers else None,  # in a child of a fork server it would be that
        )
        for real, labels in loader:
            real = real.to(self.device, non_blocking=True)
            real = real if real.ndim < 4 else real.contiguous(memory_format=self.layout)
            yield real, labels.to(self.device, non_blocking=True)


class Items(Dataset[tuple[Tensor, int]]):
    """One sample at a time, through PIL and torchvision's transforms as its data sets do; points as they are."""

    def __init__(self, data: Any) -> None:
        self.split, self.spec = data.split("train"), data.spec
        low, high = self.spec.value_range
        mean, std = -low / (high - low), 1 / (high - low)  # of pixels in [0, 1]
        mirror = [transforms.RandomHorizontalFlip()] if data.mirror else []
        self.transform = transforms.Compose([*mirror, transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        label = 0 if self.split.labels is None else int(self.split.labels[index])
        sample = self.split.samples[index]  # [H, W, C] uint8, or [D] float32
        if sample.ndim != 3:
            return torch.from_numpy(sample.copy()), label
        return self.transform(Image.fromarray(sample.squeeze(2) if sample.shape[2] == 1 else sample)), label


_NOTHING = nullcontext()
_STATES: tuple[Callable[[nn.Module], Iterator[Tensor]], ...] = (nn.Module.parameters, nn.Module.buffers)


def _unfused(factory: Any) -> Any:
    """The optimizer as PyTorch makes it when one does not ask for more."""
    if "fused" not in getattr(factory, "keywords", {}):
        return factory
    return functools.partial(factory.func, *factory.args, **{**factory.keywords, "fused": None})


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
