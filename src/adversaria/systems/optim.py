"""Optimizers, their schedules and how D and G alternate: what `conf/optim` and `conf/schedule` configure."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount, Betas, Between, Count, Decay, Positive, Rate, Share
from adversaria.core.schedules import Progress, Ramp, value_at

OptimizerFactory = Callable[..., Optimizer]


class Schedule(Protocol):
    """A factor on every learning rate, a pure function of the position: nothing to save, nothing to restore."""

    def __call__(self, progress: Progress) -> float:
        """The factor for the generator update that begins at ``progress``."""
        ...


@dataclass(frozen=True)
class Constant:
    """1 after a linear warm-up.

    Args:
        warmup: generator updates over which the rate rises linearly from 1/warmup of itself to itself.
    """

    warmup: Amount = 0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise UserError(f"optim.schedule.warmup={self.warmup} is negative; give the number of updates, 0 for none")

    def __call__(self, progress: Progress) -> float:
        """See `Schedule`."""
        return min(1.0, (progress.update + 1) / self.warmup) if self.warmup else 1.0


@dataclass(frozen=True)
class LinearDecay(Constant):
    """1 until the share ``start`` of the budget, then a straight line to ``final`` at its end.

    Args:
        warmup: see `Constant`.
        start: share of the budget, in [0, 1), at which the decay begins.
        final: factor at the end of the budget, in [0, 1].
        images: what stands for the budget, in reals shown to D; null: ``trainer.max_steps`` itself, so that a shorter
            run goes through the whole decay.
    """

    start: Decay = 0.0
    final: Share = 0.0
    images: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, good in (
            ("start", self.start, 0 <= self.start < 1),
            ("final", self.final, 0 <= self.final <= 1),
        ):
            if not good:
                raise UserError(f"optim.schedule.{name}={value} is outside the share of the budget from 0 to 1")
        if self.images is not None and self.images <= 0:
            raise UserError(f"optim.schedule.images={self.images} must be above 0, or null for the whole budget")

    def __call__(self, progress: Progress) -> float:
        """See `Schedule`."""
        done = progress.update / progress.updates if self.images is None else progress.images / self.images
        decayed = min(1.0, max(0.0, (done - self.start) / (1 - self.start)))
        return super().__call__(progress) * (self.final + (1 - self.final) * self.shape(decayed))

    def shape(self, decayed: float) -> float:
        """From 1 at ``decayed=0`` to 0 at ``decayed=1``."""
        return 1 - decayed


@dataclass(frozen=True)
class CosineDecay(LinearDecay):
    """Half a cosine instead of the straight line (Loshchilov & Hutter 2017, "SGDR", equation 5)."""

    def shape(self, decayed: float) -> float:
        """From 1 at ``decayed=0`` to 0 at ``decayed=1``."""
        return 0.5 * (1 + math.cos(math.pi * decayed))


@dataclass(frozen=True)
class Optim:
    """How the networks are optimised.

    Args:
        generator: makes G's optimizer from its parameters (the only one of a model with a single optimizer).
        discriminator: makes D's.
        encoder: makes that of an encoder which is optimised by itself; null: as ``generator`` does.
        n_critic: D steps for each generator update.
        generator_batch: fakes in a G step on one device; null: as many as ``data.batch_size``.
        accumulate: into how many equal parts each batch is cut, one after the other through the networks, their
            gradients added: less memory, the same gradient (but BatchNorm then sees smaller batches).
        clip_norm: largest global gradient norm of G and of D, each; null: not clipped.
        schedule: a factor on both learning rates.
        beta2: Adam's second moment decay of both optimizers while it changes (R3GAN); null: as the optimizers say.
    """

    generator: OptimizerFactory
    discriminator: OptimizerFactory | None = None
    encoder: OptimizerFactory | None = None
    n_critic: Count = 1
    generator_batch: Count | None = None
    accumulate: Count = 1
    clip_norm: Positive | None = None
    schedule: Schedule = field(default_factory=Constant)
    beta2: Annotated[float | Ramp, Between(0, 1, below_high=True)] | None = None

    def __post_init__(self) -> None:
        positive = {"n_critic": self.n_critic, "accumulate": self.accumulate}
        optional = {"generator_batch": self.generator_batch, "clip_norm": self.clip_norm}
        for name, value in {**positive, **{k: v for k, v in optional.items() if v is not None}}.items():
            if value <= 0:
                raise UserError(f"optim.{name}={value} must be above 0")
        for factory in (self.generator, self.discriminator, self.encoder):
            if factory is not None:  # settings are refused now, not when the run has a folder
                made = make_optimizer(factory, [nn.Parameter(torch.zeros(1))], scaled_gradients=False)
                if self.beta2 is not None and "betas" not in made.defaults:
                    raise UserError(
                        f"optim.beta2 changes a setting of Adam, and {type(made).__name__} has none; set it to null"
                    )

    def set_rates(self, optimizers: list[Optimizer], progress: Progress, rollback_factor: float = 1.0) -> None:
        """Sets every learning rate to its initial value times the schedule's factor for this update times
        ``rollback_factor``, and beta2."""
        factor = self.schedule(progress) * rollback_factor
        beta2 = None if self.beta2 is None else value_at(self.beta2, progress)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]
                if beta2 is not None:
                    group["betas"] = (group["betas"][0], beta2)


class LazyAdam(torch.optim.Adam):
    """Adam for a network that takes one more step, of its regularisation alone, every ``interval`` steps.

    With c = k / (k + 1), k being ``interval``, the rate becomes c * lr and each beta beta ** c: k + 1 steps then move
    and average as k steps of plain Adam do (Karras et al. 2020, "Analyzing and Improving the Image Quality of
    StyleGAN", appendix B).

    Args:
        params: see `torch.optim.Adam`.
        lr, betas: before the correction.
        interval: k, as in a term's ``interval``; 1 or more.
        keywords: what `torch.optim.Adam` takes besides.
    """

    def __init__(
        self,
        params: Any,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        interval: Count = 1,
        **keywords: Any,
    ) -> None:
        if interval < 1:
            raise ValueError(f"interval={interval} must be 1 or more")
        c = interval / (interval + 1)
        super().__init__(params, lr=c * lr, betas=(betas[0] ** c, betas[1] ** c), **keywords)


def make_optimizer(factory: OptimizerFactory, parameters: Any, *, scaled_gradients: bool) -> Optimizer:
    """An optimizer whose groups remember their ``initial_lr``.

    Under a gradient scaler (fp16) a fused optimizer divides the gradients itself, after they were clipped and their
    norms were read; the plain form leaves that to the scaler.
    """
    keywords = factory.keywords if isinstance(factory, functools.partial) else {}
    overrides: dict[str, Any] = {"fused": False} if scaled_gradients and "fused" in keywords else {}
    if "betas" in keywords:  # PyTorch takes no whole numbers, and betas=[0,0.9] is how people write it
        overrides["betas"] = tuple(float(beta) for beta in keywords["betas"])
    optimizer = factory(parameters, **overrides)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimizer
