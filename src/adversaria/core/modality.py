"""What a sample is, as one object: how it is stored, seen by networks, shown and written.

A modality of your own is a frozen dataclass derived from `Modality`. Your data module puts it into the `DataSpec`; no
other file needs to know of it.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError

if TYPE_CHECKING:
    from adversaria.core.types import FailureDetector


@dataclass(frozen=True)
class Drawn:
    """Samples to be shown or written.

    Attributes:
        count: how many.
        blocks: the samples in their order, ``[n, ...]`` at a time, on the CPU and as the modality stores them.
        labels: of all of them; None for an unconditional model.
        class_names: of all classes, in the order of the labels; None where they are not known.
        columns: how many a row of a picture has (None: as it comes).
        captions: what stands above the columns of a picture, if anything does.
    """

    count: int
    blocks: Iterable[Tensor]
    labels: Sequence[int] | None = None
    class_names: Sequence[str] | None = None
    columns: int | None = None
    captions: Sequence[str] | None = None

    def stored(self) -> Tensor:
        """All samples ``[count, ...]``; reads ``blocks``, which may be possible only once."""
        return torch.cat(list(self.blocks))


class Shown(NamedTuple):
    """Samples for the eye: a picture uint8 ``[3, H, W]`` on the CPU, and lines of text where samples are read."""

    picture: Tensor
    text: str | None = None


@dataclass(frozen=True)
class Writer:
    """A format of files.

    Attributes:
        write: writes samples to a file or a folder, whole or not at all.
        suffix: how the names of such files end; empty for a folder.
        together: whether all samples are in memory at once, for one picture of them all.
    """

    write: Callable[[Drawn, Path], None]
    suffix: str
    together: bool = False


class Modality(ABC):
    """A kind of samples. A frozen dataclass whose fields are plain values, for it is kept in checkpoints.

    Two forms of a sample are told apart. *As stored*: what data modules hold, files keep, and scores and pictures are
    made of; its type and shape are the modality's own choice. *As the networks see it*: float ``[N, *spec.shape]``.
    `decode` and `encode` lead from one to the other, with operations of torch on whatever device the samples are.

    Attributes:
        noun: what samples are called, in the plural.
        columns: samples in a row of a picture that shows what latents mean.
    """

    noun: ClassVar[str]
    columns: ClassVar[int] = 10

    @property
    @abstractmethod
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of a sample as the networks see it; a field of most modalities."""

    @property
    @abstractmethod
    def writers(self) -> Mapping[str, Writer]:
        """By the names that ``format=`` of ``sample.py`` takes; the first is the default.

        `adversaria.modalities.files` has some that fit many modalities.
        """

    @abstractmethod
    def decode(self, stored: Tensor) -> Tensor:
        """Samples as the networks see them, float ``[N, *spec.shape]``, of samples as stored.

        In torch's default dtype: float32, and what a trainer of another precision (64-true) sets while it trains.
        """

    @abstractmethod
    def encode(self, samples: Tensor) -> Tensor:
        """Samples as stored, of what networks make: float ``[N, *spec.shape]`` without gradients, finite."""

    @abstractmethod
    def activation(self) -> nn.Module:
        """What a generator ends in, so that its last layer reaches the values of samples.

        Raises:
            UserError: there is none for these values.
        """

    @abstractmethod
    def show(self, drawn: Drawn) -> Shown:
        """Samples for the eye; whatever they are, there is a picture."""

    def as_image(self, stored: Tensor) -> Tensor | None:
        """uint8 ``[N, C, H, W]``, what image features may be taken of; None for samples that are no images."""
        return None

    def known(self, samples: Tensor) -> Tensor | None:
        """Of samples ``[N, ...]`` as the networks see them, which places are known, bool ``[N, 1, ...]``; None: all."""
        return None

    def suits(self, detector: FailureDetector) -> bool:
        """Whether what ``detector`` looks for is a failure with samples of this kind; everything is unless you say so.

        Such as ``return "diversity/spread" not in detector.needs`` where samples that are alike are as they should be.
        """
        return True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint: the name of the class and its fields.

        Raises:
            UserError: it is no dataclass.
        """
        if "__dataclass_fields__" not in vars(type(self)):
            raise UserError(
                f"{type(self).__name__} is no dataclass, and a checkpoint cannot keep it; write "
                "@dataclass(frozen=True) above the class"
            )
        # of a class of a user's own, which may keep its fields in slots
        fields = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **fields}


def _plain(value: Any) -> Any:
    if isinstance(value, Modality):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
