"""The contracts between data, networks, objectives and systems.

There is no registry and no base class: whatever has these attributes and methods takes part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.modality import Modality
from adversaria.core.schedules import Progress, Ramp
from adversaria.core.text import shown

#: more than any labelled data set has
MOST_CLASSES = 2**20
Network = Literal["discriminator", "generator"]


@dataclass(frozen=True)
class DataSpec:
    """What the networks must know of the data; it flows from the data to them in Python.

    Attributes:
        shape: of one sample as the networks see it: ``(D,)`` is a vector, ``(C, L)`` a sequence, ``(C, H, W)`` a map.
        num_classes: how many classes are labelled; None without labels.
        modality: what a sample is.
        class_names: of the classes, in the order of the labels; None without labels, and for a model that was trained
            before names were kept.
        condition: what networks are given beside each sample, such as the picture to edit; None: nothing but labels.

    Raises:
        UserError: the modality is not an object derived from `Modality`.
    """

    shape: tuple[int, ...]
    num_classes: int | None
    modality: Modality
    class_names: tuple[str, ...] | None = None
    condition: DataSpec | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.modality, Modality):
            raise UserError(
                f"a DataSpec with modality={self.modality!r} says nothing of its samples; give it an object, such as "
                "Image() or Points(value_range=(-2, 2)) of adversaria.modalities"
            )

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of a sample as the networks see it."""
        return self.modality.value_range

    @property
    def stored_sample(self) -> Tensor:
        """One sample ``[1, ...]`` in the form in which samples are stored, for its type and shape."""
        return self.modality.encode(torch.zeros(1, *self.shape))

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """``(C, H, W)`` of the image that features may be taken of; None for samples that are no images."""
        image = self.modality.as_image(self.stored_sample)
        return None if image is None else tuple(image.shape[1:])

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for a checkpoint; `adversaria.modalities.stored.spec_of` is the inverse."""
        return {
            "shape": list(self.shape),
            "num_classes": self.num_classes,
            "modality": self.modality.to_dict(),
            "class_names": None if self.class_names is None else list(self.class_names),
            "condition": None if self.condition is None else self.condition.to_dict(),
        }

    @staticmethod
    def arguments_of(plain: Mapping[str, Any]) -> dict[str, Any]:
        """Of what `to_dict` gave all but modality and condition; names are cleaned, for the file may be anyone's.

        Raises:
            KeyError, TypeError, ValueError: it describes no data.
        """
        shape, classes, names = tuple(plain["shape"]), plain["num_classes"], plain.get("class_names")
        numbers = all(type(side) is int and 1 <= side <= 2**16 for side in shape) and 1 <= len(shape) <= 3
        if not numbers or math.prod(shape) > 2**28:
            raise ValueError(f"shape={shape}")
        if classes is not None and (type(classes) is not int or not 1 <= classes <= MOST_CLASSES):
            raise ValueError(f"num_classes={classes}")
        if names is not None and (
            not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names)
        ):
            raise ValueError("class_names")
        return {
            "shape": shape,
            "num_classes": classes,
            "class_names": None if names is None else tuple(map(shown, names)),
        }


class Batch(NamedTuple):
    """Samples as their modality stores them, such as images uint8 ``[N, C, H, W]``, and what goes with them.

    ``labels``: classes ``[N]`` int64; or conditions ``[N, *spec.condition.shape]``, as stored where the samples are as
    stored and as the networks see them beside a network's samples; or None.
    """

    samples: Tensor
    labels: Tensor | None


#: ``draw(start, stop)`` -> samples ``[stop - start, *spec.shape]`` as the networks see them, or uint8 images, and their
#: labels (None for an unconditional model). Sample i depends on i alone; both ends are multiples of `BLOCK`, so
#: that a generator may work in whole blocks.
Draw = Callable[[int, int], Batch]
BLOCK = 64


@runtime_checkable
class Reconstructs(Protocol):
    """What a `Draw` from a model with an encoder can do besides.

    Attributes:
        encodes: whether there is an encoder.
    """

    @property
    def encodes(self) -> bool:
        """See above."""
        ...

    def reconstruct(self, x: Tensor) -> Tensor:
        """Samples ``[N, *spec.shape]`` as the networks see them -> what is made of their latents, of the same shape."""
        ...


@runtime_checkable
class DrawsEdits(Protocol):
    """A `Draw` whose labels are conditions.

    Attributes:
        condition: what they look like; None: they are labels after all, or nothing.
    """

    condition: DataSpec | None

    def __call__(self, start: int, stop: int) -> Batch:
        """See `Draw`."""
        ...


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
        real_labels, fake_labels: ``[N]``, ``[M]`` int64, or None for an unconditional model; conditions
            ``[N, *spec.condition.shape]`` for one that translates.
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
        whole = (self.real, self.fake, self.real_labels, self.fake_labels, self.latents)
        cut = [[None] * count if t is None else t.tensor_split(count) for t in whole]
        for tensors in zip(*cut, strict=True):
            yield replace(self, **dict(zip(names, tensors, strict=True)), real_output=None, fake_output=None)

    def network(self, role: Network) -> nn.Module:
        """The network that ``role`` names."""
        return self.generator if role == "generator" else self.discriminator

    def shown(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What D is called with: augmented ``x`` and its labels; a condition of the same extent is augmented alike."""
        if labels is None or labels.dim() == 1 or labels.shape[2:] != x.shape[2:]:
            return self.augment(x), labels
        both: Tensor = self.augment(torch.cat([x, labels], dim=1))  # [N, C + C', H, W]
        return both[:, : x.shape[1]], both[:, x.shape[1] :]

    def logits(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """D's logits ``[len(x), ...]`` of augmented ``x``: what gradient penalties differentiate with respect to x."""
        output: DiscriminatorOutput = self.discriminator(*self.shown(x, labels))
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


class FailureDetector(Protocol):
    """What a system and a modality are told of a detector of failures (`adversaria.health.Detector`).

    Attributes:
        needs: names of measured values of which it looks at one or more, such as ``diversity/spread``.
        roles: of the networks that it speaks of.
    """

    needs: ClassVar[tuple[str, ...]]
    roles: ClassVar[tuple[str, ...]]


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
