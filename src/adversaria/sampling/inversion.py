"""The latents of given pictures: what a generator has to be given to make them.

Of many latents of the prior those whose samples are nearest begin, and Adam leads each on (Abdal et al. 2019,
"Image2StyleGAN: How to Embed Images Into the StyleGAN Latent Space?", section 5; here one style w for all layers, as in
Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix D, or z). What is minimised, for
the latent u in standard deviations of the prior from its mean:

    |G(u) - x|^2 / P  +  features |f(G(u)) - f(x)|^2 / S  +  prior |u|^2 / D

with P numbers in a sample, whose values are scaled to [-1, 1], f the features of the model's own discriminator (Larsen
et al. 2016, "Autoencoding beyond pixels using a learned similarity metric"), S the mean of |f|^2 over samples, and D
numbers in u. The last part is minus the logarithm of a normal prior, up to a factor and a constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount, Count, NonNegative, Positive, Seed
from adversaria.core.types import BLOCK, DiscriminatorOutput
from adversaria.nn.network import as_discriminator
from adversaria.sampling.latents import Latents, Space, SpaceName
from adversaria.sampling.sampler import Sampler

#: numbers that are compared at a time
_LARGEST = 2**26
#: of the steps in which the rate rises, and where it begins
_WARM_UP, _FIRST_RATE = 0.05, 0.02
_BETAS = (0.9, 0.99)
#: of a loss, the rounding of samples to 8 bits: (2 / 255)^2 / 12, twice
_LEAST = 1e-5
#: of the steps, after which the best of the latents that are led on for a picture goes on alone
_RACE = 0.1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How latents are looked for.

    Attributes:
        starts: latents of the prior that are tried for each picture, with each class where the class is not known.
        keep: how many of them are led on; after a tenth of the steps the best of them goes on alone.
        steps: of Adam.
        lr: its highest rate, in standard deviations of the prior: it rises for a twentieth of the steps, and falls
            along a cosine to 0.
        features: weight of the distance in D's features; 0: pixels alone.
        prior: weight of the squared length of the latents.
        space: see `Space`.
        seed: of the starts.
        batch_size: latents that are led on at a time.
    """

    starts: Count = 512
    keep: Count = 8
    steps: Amount = 400
    lr: Positive = 0.1
    features: NonNegative = 0.0
    prior: NonNegative = 0.0
    space: SpaceName | None = None
    seed: Seed = 0
    batch_size: Count = 128


class Inverted(NamedTuple):
    """Attributes:
    latents: of the pictures, with the classes that were given or found.
    errors: mean squared difference of each sample, as it is stored, from its picture, values in [-1, 1], ``[N]``.
    lengths: of the latents, as a share of what the prior's have on average (root mean squares), ``[N]``.
    """

    latents: Latents
    errors: Tensor
    lengths: Tensor


def decibels(errors: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of mean squared errors of values in [-1, 1]."""
    return 10 * torch.log10(4 / errors.clamp(min=1e-12))


def invert(
    sampler: Sampler,
    targets: Tensor,
    labels: Tensor | None = None,
    *,
    discriminator: nn.Module | None = None,
    settings: Settings | None = None,
) -> Inverted:
    """Looks for latents whose samples are ``targets``.

    Args:
        sampler: the model.
        targets: ``[N, *spec.shape]``, as the networks see them.
        labels: ``[N]`` of a conditional model; None: every class is tried.
        discriminator: that of the model, for ``features``; None: pixels alone.
        settings: None: the defaults.

    Raises:
        UserError: the model has no latents of pictures, or there are labels and it takes none.
    """
    if labels is not None and not sampler.conditional:
        raise UserError("labels are for conditional models, and this one is unconditional; leave labels out")
    search = _Search(sampler, discriminator, settings or Settings())
    at_once = max(1, _LARGEST // math.prod(sampler.spec.shape))
    starts = range(0, len(targets), at_once)
    return _joined([search(targets[k : k + at_once], _rows(labels, k, k + at_once)) for k in starts])


def _joined(parts: Sequence[Inverted]) -> Inverted:
    """All of ``parts``, one behind the other."""
    latents = [part.latents for part in parts]
    known = [part.labels for part in latents if part.labels is not None]
    values = torch.cat([part.values for part in latents])
    return Inverted(
        Latents(values, latents[0].space, torch.cat(known) if known else None),
        torch.cat([part.errors for part in parts]),
        torch.cat([part.lengths for part in parts]),
    )


class Likeness:
    """Places samples so that the squared distance between two is how unlike they are.

    Args:
        sampler: the model.
        discriminator: that judges features; None, or one that has none of single samples: pixels alone.
        weight: of the features.
        space: of which samples say how large features are.

    Attributes:
        sees_features: whether they count.
    """

    def __init__(self, sampler: Sampler, discriminator: nn.Module | None, weight: float, space: Space) -> None:
        low, high = sampler.spec.value_range
        self._pixels = 2 / (high - low) / math.sqrt(math.prod(sampler.spec.shape))
        self._features, self.sees_features = 0.0, False
        if discriminator is None or weight == 0 or as_discriminator(discriminator).packing > 1:
            return
        self.discriminator = discriminator.to(sampler.device).eval().requires_grad_(False)
        # A layer that looks at the batch's variety would make what is found depend on the other pictures.
        self._alone = any(getattr(layer, "mixes_samples", False) is True for layer in discriminator.modules())
        self._takes_labels = as_discriminator(discriminator).conditional
        labels = sampler.labels()
        y = None if labels is None else torch.tensor(labels)[torch.arange(BLOCK) % len(labels)].to(sampler.device)
        with torch.no_grad():
            samples = space.samples(space.drawn(BLOCK, seed=0, labels=labels), y)
            features = self._features_of(samples, y)
        if features is not None:
            self.sees_features = True
            size = features.square().sum(dim=1).mean().clamp(min=1e-12)
            self._features = float((weight / size).sqrt())

    def __call__(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        """``samples [N, *spec.shape]``, ``labels [N]`` -> places ``[N, ...]``."""
        pixels = samples.flatten(1) * self._pixels
        if not self.sees_features:
            return pixels
        features = self._features_of(samples, labels)
        assert features is not None
        return torch.cat([pixels, features * self._features], dim=1)

    def _features_of(self, samples: Tensor, labels: Tensor | None) -> Tensor | None:
        """``[N, F]``; None if D tells none."""
        y = labels if self._takes_labels else None
        size = 1 if self._alone else len(samples)
        found = []
        for k in range(0, len(samples), size):
            output: DiscriminatorOutput = self.discriminator(
                samples[k : k + size], None if y is None else y[k : k + size]
            )
            if output.features is None:
                return None
            found.append(output.features.flatten(1).float())
        return torch.cat(found)


class _Paths(NamedTuple):
    """Latents on their way.

    Attributes:
        codes: the numbers that stay, ``[n, D - free]``.
        labels: ``[n]`` or None.
        moved: the free ones, in standard deviations of the prior from its mean, ``[n, free]``.
    """

    codes: Tensor
    labels: Tensor | None
    moved: Tensor

    def at(self, rows: Tensor) -> _Paths:
        """Those of ``rows``."""
        return _Paths(self.codes[rows], None if self.labels is None else self.labels[rows], self.moved[rows])


class _Search:
    """See `invert`, whose arguments it has."""

    def __init__(self, sampler: Sampler, discriminator: nn.Module | None, settings: Settings) -> None:
        self.sampler, self.settings = sampler, settings
        self.space = Space(sampler, settings.space)
        self.likeness = Likeness(sampler, discriminator, settings.features, self.space)
        self.mean, self.deviation = self.space.statistics()

    def __call__(self, targets: Tensor, labels: Tensor | None) -> Inverted:
        targets = targets.to(self.sampler.device)
        labels = None if labels is None else labels.to(self.sampler.device)
        values, classes = self._starts(targets, labels)
        size = max(1, self.settings.batch_size // values.shape[1])
        parts = range(0, len(targets), size)
        with tqdm(total=len(parts) * self.settings.steps, unit="step", disable=None, leave=False) as bar:
            return _joined(
                [
                    self._lead(targets[k : k + size], values[k : k + size], _rows(classes, k, k + size), bar)
                    for k in parts
                ]
            )

    @torch.no_grad()
    def _starts(self, targets: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The nearest latents of the prior ``[N, keep, D]``, and their classes ``[N, keep]``."""
        count = min(self.settings.keep, self.settings.starts)
        nearest = torch.full((len(targets), count), math.inf, device=targets.device)
        values = torch.zeros(len(targets), count, self.space.dim, device=targets.device)
        classes = torch.zeros(len(targets), count, dtype=torch.int64, device=targets.device)
        turns: Sequence[int | None] = self.sampler.labels() or [None]
        for label in turns:
            rows = torch.arange(len(targets), device=targets.device)
            if labels is not None:
                rows = rows[labels == label]
            if len(rows) == 0:
                continue
            places = self._places(targets[rows], label)
            pool = self.space.drawn(self.settings.starts, seed=self.settings.seed, labels=_alone(label))
            for block in pool.split(max(1, self.sampler.block_size(BLOCK))):  # type: ignore[no-untyped-call]
                made = self._places(self.space.samples(block, _full(label, block)), label)
                distances = torch.cdist(places, made)  # [n, block]
                both = torch.cat([nearest[rows], distances], dim=1)
                nearest[rows], chosen = both.topk(count, largest=False)
                there = torch.cat([values[rows], block.expand(len(rows), -1, -1)], dim=1)
                values[rows] = there.gather(1, chosen[..., None].expand(-1, -1, self.space.dim))
                of_class = torch.cat([classes[rows], torch.full_like(distances, label or 0, dtype=torch.int64)], dim=1)
                classes[rows] = of_class.gather(1, chosen)
        return values, classes if self.sampler.conditional else None

    def _places(self, samples: Tensor, label: int | None) -> Tensor:
        """What `Likeness` says of samples of one class, some at a time."""
        parts = samples.split(self.sampler.block_size(BLOCK))  # type: ignore[no-untyped-call]
        return torch.cat([self.likeness(part, _full(label, part)) for part in parts])

    def _lead(self, targets: Tensor, starts: Tensor, classes: Tensor | None, bar: tqdm[None]) -> Inverted:
        """Leads ``starts [n, keep, D]`` with ``classes [n, keep]`` on, and from `_RACE` on the best of each alone."""
        count, keep, free = len(targets), starts.shape[1], self.space.free
        paths = _Paths(
            codes=starts.flatten(0, 1)[:, free:],
            labels=None if classes is None else classes.flatten(),
            moved=((starts.flatten(0, 1)[:, :free] - self.mean) / self.deviation),
        )
        rates = list(_rates(self.settings))
        race = round(_RACE * len(rates)) if keep > 1 else 0
        self._descend(paths, targets.repeat_interleave(keep, dim=0), rates[:race], bar)
        losses, _ = self._outcome(paths, targets.repeat_interleave(keep, dim=0))
        best = losses.view(count, keep).argmin(dim=1) + keep * torch.arange(count, device=targets.device)
        paths = paths.at(best)
        self._descend(paths, targets, rates[race:], bar)
        _, errors = self._outcome(paths, targets)
        labels = None if paths.labels is None else paths.labels.cpu()
        latents = Latents(self._values(paths.moved, paths).float().cpu(), self.space.name, labels)
        return Inverted(latents, errors.cpu(), paths.moved.square().mean(dim=1).sqrt().float().cpu())

    def _descend(self, paths: _Paths, targets: Tensor, rates: Sequence[float], bar: tqdm[None]) -> None:
        """A step of Adam with each of ``rates``; moves ``paths.moved`` in place."""
        with torch.no_grad():
            wanted = self.likeness(targets, paths.labels)
        moved = paths.moved.requires_grad_()
        optimizer = torch.optim.Adam([moved], betas=_BETAS)
        for rate in rates:
            optimizer.param_groups[0]["lr"] = rate
            samples = self.space.samples(self._values(moved, paths), paths.labels)
            optimizer.zero_grad()
            losses = self._losses(samples, wanted, moved, paths.labels)
            # The logarithm has the same minimum, and keeps gradients of one size as the distance falls.
            (losses + _LEAST).log().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            bar.update()
        moved.requires_grad_(False)

    @torch.no_grad()
    def _outcome(self, paths: _Paths, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The losses and the mean squared errors of the samples as they are stored, ``[n]`` each."""
        modality, (low, high) = self.sampler.spec.modality, self.sampler.spec.value_range
        samples = self.space.samples(self._values(paths.moved, paths), paths.labels)
        stored = modality.decode(modality.encode(samples)).to(targets)
        losses = self._losses(stored, self.likeness(targets, paths.labels), paths.moved, paths.labels)
        return losses, ((stored - targets) * (2 / (high - low))).square().flatten(1).mean(dim=1)

    def _values(self, moved: Tensor, paths: _Paths) -> Tensor:
        """The latents ``[n, D]``."""
        return torch.cat([moved * self.deviation + self.mean, paths.codes], dim=1)

    def _losses(self, samples: Tensor, wanted: Tensor, moved: Tensor, labels: Tensor | None) -> Tensor:
        """``[n]``: see the module."""
        unlike = (self.likeness(samples, labels) - wanted).square().sum(dim=1)
        return unlike + self.settings.prior * moved.square().mean(dim=1)


def _rates(settings: Settings) -> Iterator[float]:
    """The rate of each step."""
    for k in range(settings.steps):
        share = k / settings.steps
        yield settings.lr * min(1.0, share / _WARM_UP + _FIRST_RATE) * 0.5 * (1 + math.cos(math.pi * share))


def _alone(label: int | None) -> list[int] | None:
    return None if label is None else [label]


def _full(label: int | None, samples: Tensor) -> Tensor | None:
    """One label for each of ``samples``."""
    return None if label is None else torch.full((len(samples),), label, device=samples.device)


def _rows(tensor: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if tensor is None else tensor[start:stop]
