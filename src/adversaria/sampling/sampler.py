"""Samples from a trained model in a few lines, without Hydra and without the data set.

>>> import adversaria
>>> sampler = adversaria.load("outputs/dcgan-digits/2026-01-31_12-00-00")
>>> images = sampler.sample(64, seed=1)  # [64, C, H, W] in sampler.spec.value_range
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adversaria.config.blame import blamed, told
from adversaria.config.plain import near
from adversaria.core.errors import UserError
from adversaria.core.modes import evaluating
from adversaria.core.text import shown
from adversaria.core.types import BLOCK, DataSpec
from adversaria.modalities.stored import spec_of
from adversaria.nn.layers import standing_statistics
from adversaria.nn.layers.batch_norm import RUNNING
from adversaria.nn.network import as_generator
from adversaria.runs.checkpoints import read_checkpoint
from adversaria.sampling.draw import Draw, traverse
from adversaria.sampling.latents import Latents, Space
from adversaria.sampling.restore import restore_sampler
from adversaria.systems.parts import DrawsInputs

__all__ = ["Sampler", "load", "read_checkpoint"]


#: numbers in the samples that are drawn at a time
_LARGEST_BLOCK = 2**26
#: numbers or names of classes
Labels = int | str | Sequence[int | str] | None


class Sampler(DrawsInputs):
    """A trained sampler in eval mode.

    Attributes:
        network: maps ``z [N, latent_dim]`` and labels to samples.
        prior: of z.
        spec: of the samples.
        conditional: whether it takes labels.
        config: of the run, plain.
        generator_updates, images_seen: how far it was trained.
        weights: ``"ema"`` or ``"raw"``.
        batch_norm: which statistics BatchNorm uses, in words.
    """

    def __init__(self, checkpoint: dict[str, Any], *, raw: bool, trust: Sequence[str], device: torch.device) -> None:
        self.config: dict[str, Any] = checkpoint["config"]
        self.spec: DataSpec = spec_of(checkpoint["spec"], trust)
        restored = restore_sampler(checkpoint, self.spec, raw=raw, packages=trust)
        self.network, self.prior, self.pairing, self.weights = restored
        self.conditional = as_generator(self.network).conditional
        self.generator_updates: int = checkpoint["global_step"]
        self.images_seen: int = checkpoint["images_seen"]
        self.batch_norm = RUNNING
        self.device = device
        self.network.to(device).eval().requires_grad_(False)

    def use_standing_statistics(self, batches: int, *, seed: int = 0, truncation: float | None = None) -> None:
        """From now on BatchNorm uses averages over ``batches`` of 64 samples instead of its running statistics.

        Classes are drawn alike; see `adversaria.nn.layers.standing_statistics`.

        Args:
            batches: how many; Brock et al. 2019 take 100.
            seed: of latents and labels.
            truncation: as for the samples that will be drawn.

        Raises:
            UserError: the network has no BatchNorm, or ``batches`` is below 1.
        """
        if batches < 1:
            raise UserError(f"standing={batches} must be at least 1, or null for the running statistics")
        draw = Draw(self.network, self.device, self.inputs(seed=seed, truncation=truncation))
        if not standing_statistics(self.network, draw, batches=batches, size=BLOCK):
            raise UserError(
                f"standing={batches} is about BatchNorm, which this generator has not, and would change nothing; leave"
                " it out"
            )
        truncated = "" if truncation is None else f", truncation {truncation:g}"
        self.batch_norm = f"standing statistics of {batches} batches of {BLOCK}, seed {seed}{truncated}"

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        labels: Labels = None,
        truncation: float | None = None,
        batch_size: int = 256,
        given: Tensor | Latents | None = None,
    ) -> Tensor:
        """Draws samples; sample ``i`` depends on ``seed`` and ``i`` alone.

        Args:
            count: how many.
            seed: of the latents.
            labels: of a conditional model: one class for all, or classes to take in turn (default: all of them), by
                number or by name.
            truncation: latents with a magnitude above it are drawn again, or styles drawn towards their mean where the
                network is built so (see `Draw`): more typical samples, less variety.
            batch_size: how many at a time.
            given: what stands in place of drawn latents ``[N, latent_dim]``, or the conditions ``[N,
                *condition.shape]`` of a model that edits, as networks see them; or latents of pictures (see
                `adversaria.sampling.latents`), whose own labels count unless there are ``labels``. Beyond the last they
                begin again.

        Returns:
            float32 ``[count, *spec.shape]`` in ``spec.value_range``, on the CPU.

        Raises:
            UserError: labels of an unconditional model or out of range, or a count below 1.
        """
        draw = self.draw(seed=seed, labels=labels, truncation=truncation, given=given)
        if count < 1:
            raise UserError(f"count={count} must be at least 1")
        size = self.block_size(batch_size)
        starts = range(0, count, size)
        return torch.cat([draw(start, min(count, start + size)).samples.float().cpu() for start in starts])

    def interpolate(
        self,
        rows: int,
        steps: int,
        *,
        seed: int = 0,
        labels: Labels = None,
        truncation: float | None = None,
        given: Latents | None = None,
    ) -> Tensor:
        """``rows`` paths of ``steps`` samples, each from one latent to another along a great circle.

        White (2016, "Sampling Generative Networks"): on the way between two normal latents the straight line passes
        through lengths that the prior never has. Styles have no such lengths, and their paths are straight.

        Args:
            rows, steps: how many.
            seed, labels, truncation: as for `sample`.
            given: the ends in place of drawn latents, two for each path; a path has the class of its beginning.

        Returns:
            float32 ``[rows * steps, *spec.shape]``, row after row, on the CPU.

        Raises:
            UserError: fewer than 2 steps, and as `sample`.
        """
        if steps < 2 or rows < 1:
            raise UserError(
                f"interpolate={steps} with count={rows}: a path takes at least 2 steps, a picture at least 1 path"
            )
        draw = self.draw(seed=seed, labels=labels, truncation=truncation, given=given)
        z, y = draw.inputs(0, 2 * rows)
        start, end = z[0::2].unsqueeze(1), z[1::2].unsqueeze(1)  # [rows, 1, latent_dim]
        t = torch.linspace(0, 1, steps).view(1, steps, 1)
        straight = given is not None and given.space == "w"
        path = (start.lerp(end, t) if straight else _along_a_circle(start, end, t)).flatten(0, 1)
        if y is not None:
            y = y[:rows] if given is None else y[0::2]
        path_labels = None if y is None else y.repeat_interleave(steps)
        starts = range(0, len(path), BLOCK)
        with evaluating(self.network):
            parts = [
                draw.samples_of(path[k : k + BLOCK], None if path_labels is None else path_labels[k : k + BLOCK])
                for k in starts
            ]
        return torch.cat([part.float().cpu() for part in parts])

    def traverse(self, name: str, *, seed: int = 0, labels: Labels = None) -> Tensor:
        """A picture of what a part of the latents means, such as ``continuous_0`` of InfoGAN or ``generators`` of MGAN.

        Args:
            name: of the picture.
            seed: of everything that the picture does not vary.
            labels: of a conditional model, for the rows in turn.

        Returns:
            float32 ``[R, C, *spec.shape]`` on the CPU; within a row only the named part changes.

        Raises:
            UserError: the model has no such picture.
        """
        pictures = traverse(self.network, self.prior, self.spec, self.device, seed=seed, labels=self.labels(labels))
        if name not in pictures:
            choices = f"choices are {', '.join(pictures)}" if pictures else "it has none; leave traverse out"
            raise UserError(f"traverse={name} is no picture of this model's latents: {choices}")
        return pictures[name].float().cpu()

    def draw(
        self,
        *,
        seed: int = 0,
        labels: Labels = None,
        truncation: float | None = None,
        given: Tensor | Latents | None = None,
    ) -> Draw:
        """The stream of samples that `sample` takes the first ``count`` of."""
        if isinstance(given, Latents):
            if truncation is not None:
                raise UserError(
                    f"truncation={truncation} is about latents that are drawn, and these are given; leave it out"
                )
            return Space(self, given.space).draw(given.labelled(None if labels is None else self.labels(labels)))
        inputs = self.inputs(given=given, seed=seed, labels=self.labels(labels), truncation=truncation)
        return Draw(self.network, self.device, inputs)

    def block_size(self, batch_size: int) -> int:
        """How many samples to draw at a time: ``batch_size``, or fewer of samples so large that a batch has no room."""
        return max(1, min(batch_size, _LARGEST_BLOCK // math.prod(self.spec.shape)))

    def labels(self, labels: Labels = None) -> list[int] | None:
        """The classes to take in turn, as numbers; None for an unconditional model.

        Args:
            labels: numbers of classes, or their names as text (``"7"`` is the class that is named so).

        Raises:
            UserError: labels of an unconditional model, or of no class of this one.
        """
        if not self.conditional or self.translates:
            if labels is not None:
                raise UserError(
                    f"labels={shown(labels)} is for conditional models, and this one is unconditional; leave labels out"
                )
            return None
        assert self.spec.num_classes is not None
        if labels is None:
            return list(range(self.spec.num_classes))
        chosen = [labels] if isinstance(labels, int | str) else list(labels)
        if not chosen:
            raise UserError(f"labels=[] names no class; give some of the {self._classes()}")
        return [self._class_of(label) for label in chosen]

    def class_name(self, label: int) -> str | None:
        """The name of a class; None for a model that was trained before names were kept."""
        return None if self.spec.class_names is None else self.spec.class_names[label]

    def described(self, label: int) -> str:
        """A class by its number, and by its name where that says more."""
        name = self.class_name(label)
        return str(label) if name in (None, str(label)) else f"{name} (class {label})"

    def _class_of(self, label: int | str) -> int:
        names = self.spec.class_names or ()
        if isinstance(label, str):
            if label in names:
                return names.index(label)
            known = near(label, names) or f"; they are {self._classes()}"
            raise UserError(f"labels={shown(label)} is no class of this model{known}")
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < (self.spec.num_classes or 0):
            other = f"; the class named {label} is number {names.index(str(label))}" if str(label) in names else ""
            raise UserError(f"labels={shown(label)} is not within the {self._classes()} of this model{other}")
        return label

    def _classes(self) -> str:
        numbers = f"classes 0 to {(self.spec.num_classes or 1) - 1}"
        names = self.spec.class_names or ()
        return numbers + (f" ({', '.join(names[:12])}{', ...' if len(names) > 12 else ''})" if names else "")


def _along_a_circle(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """``[rows, steps, D]`` between latents ``[rows, 1, D]``, at shares ``t [1, steps, 1]`` of the angle between."""
    cosine = nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1).unsqueeze(-1)
    angle = cosine.acos().clamp(min=1e-6)
    return (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / angle.sin()


def load(
    path: str | Path, *, raw: bool = False, trust: Sequence[str] = (), device: str | torch.device | None = None
) -> Sampler:
    """Loads the sampler of a run's folder or of a checkpoint file.

    Args:
        path: the folder (its last checkpoint is taken) or the file.
        raw: the trained weights instead of their exponential moving average.
        trust: packages of your own whose networks the checkpoint's config names; nothing else is imported for it.
        device: where to sample; default: CUDA where there is one.

    Raises:
        UserError: nothing there, cut off, of another format, its config names code that is not trusted, or there is no
            such device or not enough memory.
    """
    with told({}):
        return Sampler(read_checkpoint(path), raw=raw, trust=trust, device=chosen_device(device))


def chosen_device(device: str | torch.device | None = None) -> torch.device:
    """``device``; by default CUDA where there is one.

    Raises:
        UserError: there is no such device.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with blamed(f"device={chosen}", {}):
        return torch.empty(0, device=chosen).device
