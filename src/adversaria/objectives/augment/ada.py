"""Adaptive discriminator augmentation.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data". Every transformation takes each sample
with the probability p times a multiplier of its own. p follows how sure D is of the reals (section 3), or a schedule.
Transformations draw from torch's global state on the samples' device, are differentiable twice with
respect to the samples, and compute in float32 under autocast.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between, Count, NonNegative
from adversaria.core.ranks import sum_over_ranks
from adversaria.core.schedules import Progress, Ramp, value_at
from adversaria.core.types import DataSpec
from adversaria.nn.layers import at_least_float32, without_autocast
from adversaria.objectives.augment.ada_colour import Colour
from adversaria.objectives.augment.ada_corruption import Cutout, Filter, Noise
from adversaria.objectives.augment.ada_geometry import Geometry, Turn
from adversaria.objectives.augment.base import Augmentation


class ADA(Augmentation):
    """The pipeline of appendix B with the control of p of section 3.

    Every ``interval`` D steps p rises if r_t, the mean sign of D's logits of reals in these steps, is above the target,
    and falls if it is below, by the share of ``images`` that these steps showed. It stays in [0, 1]; the authors bound
    it from below alone, but beyond 1 a probability changes nothing except the time that it takes to come back.

    Args:
        spec: of the data: images of any size from 16 and number of channels.
        target: of r_t, in (-1, 1); null: p stays ``p``.
        p: probability at the beginning, in [0, 1]; without a target also a ramp.
        interval: D steps between two changes of p.
        images: reals that are shown, over all devices, while p goes from 0 to 1.
        flip, rotate90, shift: pixel blitting, see `Turn` and `Geometry`. These and all that follow multiply p for one
            transformation, in [0, 1]: 1 as often as p says, 0 never.
        scale, rotate, stretch, translate: geometry, see `Geometry`.
        brightness, contrast, luma_flip, hue, saturation: colour, see `Colour`.
        filter: see `Filter`.
        noise, cutout: corruptions, see `Noise` and `Cutout`.

    Raises:
        UserError: data that is no images, a value out of range, a ramp beside a target, or quarter turns of images that
            are not square.
    """

    p: Tensor
    r_t: Tensor
    seen: Tensor
    steps: Tensor

    def __init__(
        self,
        *,
        spec: DataSpec,
        target: Annotated[float, Between(-1, 1)] | None = 0.6,
        p: Annotated[float | Ramp, Between(0, 1)] = 0.0,
        interval: Count = 4,
        images: Count = 500_000,
        flip: NonNegative = 1.0,
        rotate90: NonNegative = 1.0,
        shift: NonNegative = 1.0,
        scale: NonNegative = 1.0,
        rotate: NonNegative = 1.0,
        stretch: NonNegative = 1.0,
        translate: NonNegative = 1.0,
        brightness: NonNegative = 1.0,
        contrast: NonNegative = 1.0,
        luma_flip: NonNegative = 1.0,
        hue: NonNegative = 1.0,
        saturation: NonNegative = 1.0,
        filter: NonNegative = 0.0,
        noise: NonNegative = 0.0,
        cutout: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        turn = {"flip": flip, "rotate90": rotate90}
        geometry = {"shift": shift, "scale": scale, "rotate": rotate, "stretch": stretch, "translate": translate}
        colour = {
            "brightness": brightness,
            "contrast": contrast,
            "luma_flip": luma_flip,
            "hue": hue,
            "saturation": saturation,
        }
        corruption = {"filter": filter, "noise": noise, "cutout": cutout}
        _check_data(spec, rotate90)
        _check(target, p, interval, images, turn | geometry | colour | corruption)
        channels, height, width = spec.shape
        stages = (
            (Turn(**turn), turn.values()),
            (Geometry(height=height, width=width, **geometry), geometry.values()),
            (Colour(channels=channels, **colour), colour.values()),
            (Filter(height=height, width=width, filter=filter), [filter]),
            (Noise(noise=noise), [noise]),
            (Cutout(cutout=cutout), [cutout]),
        )
        self.stages = nn.ModuleList(stage for stage, multipliers in stages if any(multipliers))
        self._moves_only = not any([*colour.values(), filter, noise])
        self.target, self.schedule, self.interval, self.images = target, p, interval, images
        self.register_buffer("p", torch.tensor(0.0 if callable(p) else float(p)))
        self.register_buffer("r_t", torch.tensor(0.0))
        self.register_buffer("seen", torch.zeros(2))  # since the last change: sum of the signs, and number of reals
        self.register_buffer("steps", torch.tensor(0))

    @property
    def moves_only(self) -> bool:
        """Without colour, filter and noise."""
        return self._moves_only

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[N, C, H, W]`` -> ``[N, C, H, W]``; colours may leave the value range."""
        with without_autocast(x.device):
            out = at_least_float32(x)
            for stage in self.stages:
                out = stage(out, self.p)
            return out.to(x.dtype)

    def begin_step(self, progress: Progress) -> None:
        """Sets p to what its schedule says, if nothing adapts it."""
        if self.target is None:
            self.p.fill_(value_at(self.schedule, progress))

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Takes in D's logits ``[N, ...]`` of the reals of one D step, and moves p if it is time to.

        Nothing waits for the device: what is not due is computed and not used.
        """
        signs = real_logits.float().sign().reshape(len(real_logits), -1).mean(1).sum()
        self.seen += sum_over_ranks(torch.stack([signs, torch.full_like(signs, len(real_logits))]))
        self.steps += 1
        due = self.steps % self.interval == 0
        signs, count = self.seen
        r_t = signs / count
        self.r_t.copy_(torch.where(due, r_t, self.r_t))
        if self.target is not None:
            moved = self.p + (r_t - self.target).sign() * count / self.images
            self.p.copy_(torch.where(due, moved.clamp(0, 1), self.p))
        self.seen.copy_(torch.where(due, 0.0, self.seen))

    def values(self) -> dict[str, Tensor]:
        """p and the last r_t, for the loggers."""
        return {"augment/p": self.p.clone(), "augment/r_t": self.r_t.clone()}


def _check_data(spec: DataSpec, rotate90: float) -> None:
    if len(spec.shape) != 3:
        raise UserError(
            f"augment=ada transforms images, and this data set has {spec.modality.noun}: choose augment=none"
        )
    height, width = spec.shape[1:]
    if rotate90 and height != width:
        raise UserError(
            f"augment.rotate90 needs square images, and these have {height}x{width}: set augment.rotate90=0"
        )


def _check(target: float | None, p: float | Ramp, interval: int, images: int, multipliers: dict[str, float]) -> None:
    if target is not None and not -1 < target < 1:
        raise UserError(f"augment.target={target} is out of range: it must lie between -1 and 1, or be null")
    if target is not None and callable(p):
        raise UserError(f"augment.p is a ramp, but augment.target={target} moves p: set augment.target=null")
    if not callable(p) and not 0 <= p <= 1:
        raise UserError(f"augment.p={p} is out of range: it must lie between 0 and 1")
    for name, count in (("interval", interval), ("images", images)):
        if count < 1:
            raise UserError(f"augment.{name}={count} is out of range: it must be 1 or more")
    for name, multiplier in multipliers.items():
        if not 0 <= multiplier <= 1:
            raise UserError(f"augment.{name}={multiplier} is out of range: it must lie between 0 and 1")
