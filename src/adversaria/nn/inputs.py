"""What a sampler is called with, by number: input ``i`` depends on the seed, on ``i`` and on what is given alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.seeding import step_seed
from adversaria.core.types import BLOCK
from adversaria.nn.prior import Prior

#: below it latents are drawn again hundreds of times
LEAST_TRUNCATION = 0.01


class Inputs(Protocol):
    """``inputs(start, stop)`` gives what a sampler makes its samples ``start`` to ``stop - 1`` of.

    Attributes:
        options: keyword arguments of the sampler for all of them, such as the truncation of a style-based generator.
    """

    options: Mapping[str, Any]

    def __call__(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """``z [stop - start, ...]`` and ``y [stop - start, ...]``, labels or conditions, or None; both on the CPU."""
        ...


class ConditionInputs:
    """Conditions, such as pictures to edit, and the latents of a generator that takes some.

    Args:
        prior: of the latents.
        conditions: ``conditions(start, stop)`` gives those of numbers ``start`` to ``stop - 1``, float ``[stop - start,
            *condition.shape]`` on the CPU.
        seed: of the latents.
        options: keyword arguments of the sampler, such as the direction of a translation.
    """

    def __init__(
        self,
        prior: Prior,
        conditions: Callable[[int, int], Tensor],
        *,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.conditions, self.options = conditions, options or {}
        self._latents = LatentInputs(prior, seed=seed)

    def __call__(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """``z [stop - start, latent_dim]`` and ``y [stop - start, *condition.shape]``, float32, on the CPU."""
        return self._latents(start, stop)[0], self.conditions(start, stop)


class LatentInputs:
    """Latents of a prior, and labels of a conditional model.

    They are made in blocks of `BLOCK`, so that any part of them costs about as much as it is long.

    Args:
        prior: of the latents.
        seed: of latents and labels.
        labels: input ``i`` gets ``labels[i % len(labels)]``; takes precedence over ``class_weights``.
        class_weights: relative frequency of each class, for labels drawn at random; None: unconditional, or ``labels``.
        truncation: for a generator that truncates by itself the psi that its ``forward`` is called with (Karras et al.
            2019, appendix B). Else latents with a magnitude above it are drawn again (Brock et al. 2019, section 3.1);
            codes behind the noise stay.
        given: ``[N, latent_dim]``, in place of drawn latents; beyond the last they begin again.

    Raises:
        UserError: latents of another length, or ``truncation`` is not above 0 (or 0.01, where latents are drawn again),
            or senseless for the prior.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        seed: int = 0,
        labels: Sequence[int] | None = None,
        class_weights: Sequence[float] | None = None,
        truncation: float | None = None,
        given: Tensor | None = None,
    ) -> None:
        self.prior, self.seed, self._given = prior, seed, given
        self.options: Mapping[str, Any] = {}
        if given is not None and given.shape[1:] != (prior.latent_dim,):
            raise UserError(
                f"the latents that are given have shape {list(given.shape)}; this model takes [N, {prior.latent_dim}]"
            )
        self._largest: float | None = None
        if truncation is not None:
            self._truncate(truncation)
        self._labels = None if labels is None else torch.tensor(list(labels), dtype=torch.int64)
        weights = torch.tensor(class_weights or [], dtype=torch.float64)
        self._cumulative = None if class_weights is None else weights.cumsum(0) / weights.sum()

    def _truncate(self, truncation: float) -> None:
        """By the generator itself, or here."""
        number = isinstance(truncation, int | float) and not isinstance(truncation, bool)
        if not (number and 0 < truncation < math.inf):
            raise UserError(f"truncation={truncation} must be a number above 0; a usual value is 0.7")
        if self.prior.network_truncates:
            self.options = {"truncation": truncation}
            return
        if truncation < LEAST_TRUNCATION:
            raise UserError(
                f"truncation={truncation} would draw latents again almost for ever until all numbers are that small; "
                f"give at least {LEAST_TRUNCATION}"
            )
        if not self.prior.distribution.redraws:
            raise UserError(
                f"truncation={truncation} draws single numbers again, which is no sample of this model's latents "
                f"({type(self.prior.distribution).__name__}) any more: leave truncation=null"
            )
        self._largest = truncation

    def __call__(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """``z [stop - start, latent_dim]`` float32 and labels ``[stop - start]`` int64 or None, on the CPU."""
        blocks = [self._block(block) for block in range(start // BLOCK, (stop - 1) // BLOCK + 1)]
        cut = slice(start % BLOCK, start % BLOCK + stop - start)
        z = torch.cat([latents for latents, _ in blocks])[cut]
        if self._given is not None:
            z = self._given[torch.arange(start, stop) % len(self._given)]
        if self._labels is not None:
            return z, self._labels[torch.arange(start, stop) % len(self._labels)]
        if self._cumulative is None:
            return z, None
        uniform = torch.cat([draws for _, draws in blocks])[cut]
        return z, torch.searchsorted(self._cumulative, uniform).clamp_(max=len(self._cumulative) - 1)

    def _block(self, block: int) -> tuple[Tensor, Tensor]:
        """Latents ``[BLOCK, latent_dim]`` and uniform numbers ``[BLOCK]`` of one block."""
        generator = torch.Generator().manual_seed(step_seed(self.seed, 0, block, 0))
        z = self.prior.draw(BLOCK, generator)
        uniform = torch.rand(BLOCK, generator=generator, dtype=torch.float64)
        noise = z[:, : self.prior.noise_dim]  # a view
        while self._largest is not None and bool((outside := noise.abs() > self._largest).any()):
            again = self.prior.draw(BLOCK, generator)
            noise.copy_(torch.where(outside, again[:, : noise.shape[1]], noise))
        return z, uniform
