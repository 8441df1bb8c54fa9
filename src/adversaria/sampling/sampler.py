"""Samples from a trained model in a few lines, without Hydra and without the data set.

>>> import adversaria
>>> sampler = adversaria.load("outputs/dcgan-digits/2026-01-31_12-00-00")
>>> images = sampler.sample(64, seed=1)  # [64, C, H, W] in sampler.spec.value_range
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from adversaria.sampling.tiles import tiled
from adversaria.systems.parts import DrawsInputs

__all__ = ["Sampler", "load", "read_checkpoint"]


#: numbers in the samples that are drawn at a time
_LARGEST_BLOCK = 2**26
#: numbers or names of classes
Labels = int | str | Sequence[int | str] | None


class Edit(NamedTuple):
    """A picture that was edited; all uint8 on the CPU.

    Attributes:
        given: what the network saw, as an image ``[C', H, W]``.
        made: its edit, ``[C, H, W]``.
        answer: the picture before it was spoiled, ``[C, H, W]``; None where nothing was.
    """

    given: Tensor
    made: Tensor
    answer: Tensor | None


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
        encoder: gives the posterior of a sample's latent; None for a model without one.
    """

    def __init__(self, checkpoint: dict[str, Any], *, raw: bool, trust: Sequence[str], device: torch.device) -> None:
        self.config: dict[str, Any] = checkpoint["config"]
        self.spec: DataSpec = spec_of(checkpoint["spec"], trust)
        restored = restore_sampler(checkpoint, self.spec, raw=raw, packages=trust)
        self.network, self.prior, self.pairing, self.weights, self.encoder = restored
        self.conditional = as_generator(self.network).conditional
        self.generator_updates: int = checkpoint["global_step"]
        self.images_seen: int = checkpoint["images_seen"]
        self.batch_norm = RUNNING
        self.device = device
        for network in (self.network, self.encoder):
            if network is not None:
                network.to(device).eval().requires_grad_(False)

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

    def encode(self, samples: Tensor, *, batch_size: int = 256) -> Tensor:
        """The latents of samples, as means of their posteriors.

        Args:
            samples: ``[N, *spec.shape]`` in ``spec.value_range``.
            batch_size: how many at a time.

        Returns:
            float32 ``[N, latent_dim]`` on the CPU, for ``sample(N, given=...)``.

        Raises:
            UserError: the model has no encoder, or samples have another shape.
        """
        return self._in_blocks(self.draw().encode, samples, batch_size)

    def reconstruct(self, samples: Tensor, *, batch_size: int = 256) -> Tensor:
        """What the model makes of the latents of samples; arguments and errors as of `encode`.

        Returns:
            float32 ``[N, *spec.shape]`` in ``spec.value_range``, on the CPU.
        """
        return self._in_blocks(self.draw().reconstruct, samples, batch_size)

    def _in_blocks(self, function: Callable[[Tensor], Tensor], samples: Tensor, batch_size: int) -> Tensor:
        if samples.shape[1:] != self.spec.shape or not len(samples):
            raise UserError(
                f"the samples have shape {list(samples.shape)}, and this model is for {list(self.spec.shape)}; give at "
                "least one of these, [N, ...]"
            )
        size = self.block_size(batch_size)
        starts = range(0, len(samples), size)
        return torch.cat([function(samples[start : start + size]).float().cpu() for start in starts])

    @property
    def edited_channels(self) -> int:
        """Of the pictures that `edit` takes.

        Raises:
            UserError: the model edits nothing.
        """
        if self.condition is None:
            raise UserError("this model draws samples and edits no pictures; leave images and degrade out")
        return self.condition.shape[0] if self.pairing is None else self.spec.shape[0]

    def edit(self, picture: Tensor, known: Tensor | None = None, *, degrade: bool = False, seed: int = 0) -> Edit:
        """Edits a picture of any size, in tiles of the size that the network was trained with (see `tiled`).

        Args:
            picture: uint8 ``[C, H, W]`` with `edited_channels`.
            known: bool ``[1, H, W]``, where the picture says something; None: everywhere.
            degrade: spoils the picture first, as in training.
            seed: of what is random in that, and of the latents.

        Raises:
            UserError: the model edits nothing, takes other pictures, cannot spoil them, or sees nothing to do.
        """
        channels, condition = self.edited_channels, self.condition
        assert condition is not None
        if picture.dtype != torch.uint8 or picture.dim() != 3 or picture.shape[0] != channels:
            raise UserError(
                f"this model edits pictures uint8 [{channels}, H, W], and one of shape {list(picture.shape)} was given"
            )
        answer = None
        if self.pairing is None:
            if degrade:
                raise UserError(
                    "degrade=true spoils pictures as in training, and this model has learned from pairs; leave it out"
                )
            y = condition.modality.decode(picture[None])
        else:
            if degrade:  # whole pixels of what is given
                sides = (side - side % self.pairing.enlarges for side in picture.shape[1:])
                picture = answer = picture[:, *map(slice, sides)]
            x = self.spec.modality.decode(picture[None])
            where = None if known is None else known[None]
            y = self.pairing(x, torch.Generator().manual_seed(seed)) if degrade else self.pairing.given(x, where)
        z = self.prior.draw(1, torch.Generator().manual_seed(seed))
        draw = self.draw(seed=seed, given=y)
        made = tiled(
            lambda tiles: draw.samples_of(z.expand(len(tiles), -1), tiles),
            y[0],
            condition.shape[1:],  # type: ignore[arg-type]
        )
        given = condition.modality.as_image(condition.modality.encode(y))
        assert given is not None
        return Edit(given[0], self.spec.modality.encode(made[None].float().cpu())[0], answer)

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
        return Draw(self.network, self.device, inputs, self.condition, self.encoder)

    def block_size(self, batch_size: int) -> int:
        """How many samples to draw at a time: ``batch_size``, or fewer of samples so large that a batch has no room."""
        return max(1, min(batch_size, _LARGEST_BLOCK // math.prod(self.spec.shape)))

    def labels(self, labels: Labels = None) -> list[int] | None:
        """The classes to take in turn, as numbers; None for an unconditional model.

        Args:
            labels: numbers of classes, or their names as text (``"7"`` is the class with that name).

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
    place = chosen_device(device)
    with told({}):
        return Sampler(read_checkpoint(path), raw=raw, trust=trust, device=place)


def chosen_device(device: str | torch.device | None = None) -> torch.device:
    """``device``; by default CUDA where there is one.

    Raises:
        UserError: there is no such device.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with blamed(f"device={chosen}", {}):
        return torch.empty(0, device=chosen).device
