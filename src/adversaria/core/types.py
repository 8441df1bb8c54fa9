"""The contracts between data, networks, objectives and systems.

There is no registry and no base class: whatever has these attributes and methods takes part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from adversaria.core.schedules import Progress, Ramp
from adversaria.core.text import shown

Modality = Literal["image", "points"]
#: more than any labelled data set has
MOST_CLASSES = 2**20
Network = Literal["discriminator", "generator"]


@dataclass(frozen=True)
class DataSpec:
    """What the networks must know of the data; it flows from the data to them in Python.

    Attributes:
        shape: of one sample, ``(C, H, W)`` for images, ``(D,)`` for points.
        num_classes: how many classes are labelled; None without labels.
        value_range: smallest and largest value of a sample as the networks see it.
        modality: ``"image"`` or ``"points"``.
        class_names: of the classes, in the order of the labels; None without labels, and for a model that was trained
            before names were kept.
    """

    shape: tuple[int, ...]
    num_classes: int | None
    value_range: tuple[float, float]
    modality: Modality
    class_names: tuple[str, ...] | None = None

    def to_float(self, samples: Tensor) -> Tensor:
        """uint8 images of 0..255 to ``value_range``; float samples pass unchanged.

        In torch's default dtype: float32, and what a trainer of another precision (64-true) sets while it trains.
        """
        if samples.dtype != torch.uint8:
            return samples
        low, high = self.value_range
        return samples.to(torch.get_default_dtype()).mul_((high - low) / 255).add_(low)

    def to_uint8(self, samples: Tensor) -> Tensor:
        """Samples in ``value_range`` to uint8 images of 0..255, rounded; what lies outside is clamped."""
        if samples.dtype == torch.uint8:
            return samples
        low, high = self.value_range
        return samples.float().sub(low).mul_(255 / (high - low)).round_().clamp_(0, 255).to(torch.uint8)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for a checkpoint."""
        names = None if self.class_names is None else list(self.class_names)
        return {
            **asdict(self),
            "shape": list(self.shape),
            "value_range": list(self.value_range),
            "class_names": names,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> DataSpec:
        """The inverse of `to_dict`; names are cleaned, for the file may have come from anywhere.

        Raises:
            KeyError, TypeError, ValueError: it describes no data.
        """
        (low, high), shape, classes = plain["value_range"], tuple(plain["shape"]), plain["num_classes"]
        names, modality = plain.get("class_names"), plain["modality"]
        numbers = all(type(side) is int and 1 <= side <= 2**16 for side in shape) and 1 <= len(shape) <= 3
        if not numbers or math.prod(shape) > 2**28:
            raise ValueError(f"shape={shape}")
        if classes is not None and (type(classes) is not int or not 1 <= classes <= MOST_CLASSES):
            raise ValueError(f"num_classes={classes}")
        if modality not in get_args(Modality) or not -math.inf < low < high < math.inf:
            raise ValueError(f"modality={modality}, value_range={low, high}")
        if names is not None and (
            not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names)
        ):
            raise ValueError("class_names")
        return cls(shape, classes, (low, high), modality, None if names is None else tuple(map(shown, names)))


class Batch(NamedTuple):
    """Reals as the storage holds them: ``samples [N, C, H, W]`` uint8 or ``[N, D]`` float32; ``labels [N]`` int64."""

    samples: Tensor
    labels: Tensor | None


#: ``draw(start, stop)`` -> samples ``[stop - start, *spec.shape]``, uint8 images or in the spec's value range, and
#: their labels (None for an unconditional model). Sample i depends on i alone; both ends are multiples of `BLOCK`, so
#: that a generator may work in whole blocks.
Draw = Callable[[int, int], Batch]
BLOCK = 64


class DiscriminatorOutput(NamedTuple):
    """``logits [N, ...]`` (patches or positions are reduced by the mean), and what some objectives need besides."""

    logits: Tensor
    features: Tensor | None = None
    class_logits: Tensor | None = None


@dataclass
class Step:
    """What a term of an objective may look at during one step of D or G.

    Attributes:
        generator, discriminator, augment: the networks; ``augment`` is the identity unless configured.
        real: reals ``[N, ...]`` float in the value range, before augmentation.
        fake: fakes ``[M, ...]``, before augmentation; carry gradients in a G step only.
        real_labels, fake_labels: ``[N]``, ``[M]`` int64, or None for an unconditional model.
        latents: ``[M, latent_dim]``, those of ``fake``.
        real_output, fake_output: what D said of them in this step; ``real_output`` is None in a G step unless the
            loss needed it, and both are for a term that does not use them (see `Term`).
        progress: how far the run was when this generator update began.
    """

    generator: nn.Module
    discriminator: nn.Module
    augment: nn.Module
    real: Tensor
    fake: Tensor
    real_labels: Tensor | None
    fake_labels: Tensor | None
    latents: Tensor
    real_output: DiscriminatorOutput | None
    fake_output: DiscriminatorOutput | None
    progress: Progress

    def microbatches(self, count: int) -> Iterator[Step]:
        """``count`` steps with equal shares of the samples, what D said left out; the step itself if ``count`` is 1."""
        if count == 1:
            yield self
            return
        names = ("real", "fake", "real_labels", "fake_labels", "latents")
        cut = [[None] * count if (t := getattr(self, name)) is None else t.tensor_split(count) for name in names]
        for tensors in zip(*cut, strict=True):
            yield replace(self, **dict(zip(names, tensors, strict=True)), real_output=None, fake_output=None)

    def logits(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """D's logits ``[len(x), ...]`` of augmented ``x``: what gradient penalties differentiate with respect to x."""
        output: DiscriminatorOutput = self.discriminator(self.augment(x), labels)
        return output.logits


@runtime_checkable
class Term(Protocol):
    """One more scalar in the objective of D or G, such as a gradient penalty.

    A term of ``interval`` 1 joins the loss. One of a longer interval takes an optimizer step of its own after every so
    many steps of its network, counted ``weight * interval``: its expected share is that of every step (lazy
    regularisation; Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B). If such a
    term says ``uses_outputs = False``, D does not judge the samples again for it: its step has no outputs, and none of
    G's fakes.

    A term with state is an `nn.Module`: its buffers are saved and restored with the networks.
    """

    weight: float | Ramp
    interval: int
    applies_to: Network

    def __call__(self, step: Step) -> Tensor:
        """The unweighted term, a float32 scalar."""
        ...


@runtime_checkable
class Constraint(Protocol):
    """A projection of a network's weights after each of its optimizer steps, such as weight clipping."""

    applies_to: Network

    def project(self, network: nn.Module) -> None:
        """Changes the weights of ``network`` in place."""
        ...


@runtime_checkable
class Reparametrisation(Protocol):
    """A change of how a network's weights are computed, made once before training, such as spectral normalisation."""

    applies_to: Network

    def reparametrise(self, network: nn.Module) -> None:
        """Changes ``network`` in place."""
        ...


class System(Protocol):
    """What callbacks, sampling, evaluation and comparison know of a model: no discriminator is assumed.

    A LightningModule built as ``Class(..., spec=spec, optim=optim)`` with these besides.

    Attributes:
        spec: of the data it was built for.
        sampler: maps latents to samples; EMA follows it, sampling and evaluation use it.
        batches_per_step: how many batches of reals one generator update takes (n_critic for a GAN).
        conditional: whether ``sampler`` wants labels.
    """

    spec: DataSpec
    batches_per_step: int
    conditional: bool

    @property
    def sampler(self) -> nn.Module:
        """See above."""
        ...

    def previews(self, reals: Tensor) -> dict[str, Tensor]:
        """Further pictures of this model by name, each ``[N, *spec.shape]``, such as a VAE's reconstructions."""
        ...
