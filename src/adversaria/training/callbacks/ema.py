"""Exponential moving average of the network that makes samples, and of the one that finds their latents."""

from __future__ import annotations

import copy
from typing import Annotated, Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount, AtLeast, Decay, Positive
from adversaria.core.schedules import Progress, Ramp, value_at
from adversaria.systems.base import SteppedModule
from adversaria.training.callbacks.lookup import callback_of, system_of


class EMA(Callback):
    """Keeps an average of the sampler's parameters, for samples, scores and checkpoints; training never sees it.

    Where the system has an encoder its parameters are averaged alike.

    The decay of one update is ``0.5 ** (images of the update / half-life)`` with the half-life
    ``min(half_life, ramp_up * images seen)`` (Karras et al. 2020, "Training GANs with Limited Data", appendix), or
    ``decay`` itself where a recipe counts updates. Buffers are copied, not averaged. Lightning's own averaging counts
    every optimizer step and swaps D as well.

    Args:
        half_life: in images shown to D, above 0 or a ramp; null: ``decay`` holds.
        ramp_up: share of the images seen so far that bounds the half-life, so that the first samples do not lag;
            null: no bound.
        decay: what stays of the average in each update, in [0, 1); null: ``half_life`` holds.
        start: updates before which the average is the weights themselves (BigGAN).

    Raises:
        UserError: a value out of range, or not exactly one of ``half_life`` and ``decay``.
    """

    def __init__(
        self,
        *,
        half_life: Annotated[float | Ramp, AtLeast(0)] | None = 500_000,
        ramp_up: Positive | None = 0.05,
        decay: Decay | None = None,
        start: Amount = 0,
    ) -> None:
        if (half_life is None) == (decay is None):
            raise UserError(
                f"callbacks.ema has half_life={half_life} and decay={decay}: give one and set the other to null"
            )
        for name, value in (("half_life", half_life), ("ramp_up", ramp_up)):
            if isinstance(value, int | float) and value <= 0:
                raise UserError(
                    f"callbacks.ema.{name}={value} must be above 0; to train without EMA add ~callbacks.ema"
                )
        if decay is not None and not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay={decay} must be in [0, 1)")
        if start < 0:
            raise UserError(f"callbacks.ema.start={start} is negative; give the number of updates, 0 for none")
        self.half_life, self.ramp_up, self.fixed, self.start = half_life, ramp_up, decay, start
        #: the averages of sampler and encoder
        self.network: nn.Module | None = None
        self.encoder: nn.Module | None = None
        self._restored: dict[str, Any] | None = None
        self._restored_encoder: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Copies the networks, on their device by now, or takes the averages that a checkpoint brought."""
        sources = [pl_module.sampler]
        self.network = _copy(pl_module.sampler, self._restored)
        averages = [self.network]
        if (encoder := pl_module.encoding) is not None:
            self.encoder = _copy(encoder, self._restored_encoder)
            sources.append(encoder)
            averages.append(self.encoder)
        self._restored = self._restored_encoder = None
        self._source, self._average = _tensors(sources), _tensors(averages)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: SteppedModule, *_: Any) -> None:
        """One step of the average."""
        torch._foreach_lerp_(self._average[0], self._source[0], 1 - self.decay(pl_module.progress()))
        if self._source[1]:
            torch._foreach_copy_(self._average[1], self._source[1])

    def decay(self, progress: Progress) -> float:
        """How much of the average stays in the update that led to ``progress``."""
        if progress.update <= self.start:
            return 0.0
        if self.half_life is None:
            assert self.fixed is not None
            return self.fixed
        half_life = value_at(self.half_life, progress)
        if self.ramp_up is not None:
            half_life = min(half_life, self.ramp_up * progress.images)
        return float(0.5 ** (progress.images / progress.update / half_life)) if half_life > 0 else 0.0

    def on_save_checkpoint(self, trainer: Trainer, pl_module: SteppedModule, checkpoint: dict[str, Any]) -> None:
        """Adds ``checkpoint["ema"]``, a state dict of the sampler, and ``"ema_encoder"`` where there is an encoder."""
        assert self.network is not None
        checkpoint["ema"] = self.network.state_dict()
        if self.encoder is not None:
            checkpoint["ema_encoder"] = self.encoder.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: SteppedModule, checkpoint: dict[str, Any]) -> None:
        """Keeps the averages until the networks are on their device; before there was one of the encoder it begins."""
        self._restored, self._restored_encoder = checkpoint.get("ema"), checkpoint.get("ema_encoder")


def _copy(network: nn.Module, restored: dict[str, Any] | None) -> nn.Module:
    """A copy that is not trained, with these weights if they are there."""
    average = copy.deepcopy(network).eval().requires_grad_(False)
    if restored is not None:
        average.load_state_dict(restored)
    return average


def _tensors(networks: list[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """Their parameters and their buffers."""
    parameters = [p.detach() for network in networks for p in network.parameters()]
    return parameters, [b for network in networks for b in network.buffers()]


def sampler_of(trainer: Trainer) -> nn.Module:
    """The network to sample from: the average where there is one, else the trained one."""
    average = callback_of(trainer, EMA)
    if average is not None and average.network is not None:
        return average.network
    return system_of(trainer).sampler


def encoder_of(trainer: Trainer) -> nn.Module | None:
    """The encoder likewise; None for a system without one."""
    average = callback_of(trainer, EMA)
    if average is not None and average.encoder is not None:
        return average.encoder
    return system_of(trainer).encoding
