"""What every pairing does, and the conditions of a data set by number."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.seeding import step_seed
from adversaria.core.types import BLOCK, DataSpec

if TYPE_CHECKING:
    from adversaria.data.module import DataModule


class Pairing(ABC):
    """Makes the condition of a sample: what is given where the sample is the answer.

    Without state and weights, so that a checkpoint that names it can spoil clean pictures by itself.

    Attributes:
        enlarges: how many times as high and wide as a picture that is given its answer is.
    """

    enlarges: int = 1

    @abstractmethod
    def condition(self, spec: DataSpec) -> DataSpec:
        """What the conditions of samples of ``spec`` look like.

        Raises:
            UserError: samples that it cannot make conditions of.
        """

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Conditions ``[N, *condition.shape]`` of samples ``x [N, *spec.shape]``, both as the networks see them.

        Args:
            x: the samples.
            generator: of what is random, on the CPU; None: torch's global state on the device of ``x``.
        """

    def given(self, pictures: Tensor, known: Tensor | None = None) -> Tensor:
        """Conditions ``[N, *condition.shape]`` of pictures that are to be edited as they are, seen by networks.

        They are these pictures unless a pairing says otherwise, as that of super-resolution, which enlarges them.

        Args:
            pictures: ``[N, C, H, W]`` as the networks see samples.
            known: where something is known, bool ``[N, 1, H, W]``; None: everywhere.

        Raises:
            UserError: the pairing makes nothing of such pictures.
        """
        return pictures

    def paired(self, spec: DataSpec) -> DataSpec:
        """``spec`` with its condition, which stands where labels would.

        Raises:
            UserError: the data brings conditions of its own, or see `condition`.
        """
        if spec.condition is not None:
            raise UserError(
                f"pairing={type(self).__name__.lower()} makes conditions, and the data set brings its own: set "
                "pairing=null, or choose data without conditions"
            )
        return replace(spec, num_classes=None, class_names=None, condition=self.condition(spec))


def image_spec(spec: DataSpec, name: str) -> tuple[int, int, int]:
    """``(C, H, W)`` of images in [-1, 1].

    Args:
        spec: of the data.
        name: of the pairing, for the message.

    Raises:
        UserError: the data are no such images.
    """
    if len(spec.shape) != 3 or spec.image_shape != spec.shape or spec.value_range != (-1.0, 1.0):
        raise UserError(f"pairing={name} is for images in [-1, 1], and this data set has {spec.modality.noun}")
    channels, height, width = spec.shape
    return channels, height, width


def rounded(x: Tensor) -> Tensor:
    """Images in [-1, 1] as 8 bits would hold them: rounded and clamped, as a network is later given them."""
    return x.add(1).mul(127.5).round().clamp(0, 255).div(127.5).sub(1)


class ConditionsOf:
    """The conditions of a data set by number, of its test split where there is one.

    Condition ``i`` belongs to sample ``i`` of the split and depends on ``(seed, i)`` alone; beyond the last sample the
    samples begin again, with other random numbers.

    Args:
        data: prepared.
        pairing: makes them of the samples; None: those of the data itself.
        seed: of what is random in them.
    """

    def __init__(self, data: DataModule, pairing: Pairing | None, seed: int = 0) -> None:
        self.data, self.pairing, self.seed = data, pairing, seed

    def __call__(self, start: int, stop: int) -> Tensor:
        """``[stop - start, *condition.shape]`` float, as the networks see them, on the CPU."""
        if self.pairing is None:
            batch = self.data.batch(self.data.held_out, np.arange(start, stop))
            condition = self.data.spec.condition
            assert condition is not None
            assert batch.labels is not None
            return condition.modality.decode(batch.labels)
        first, last = start // BLOCK, math.ceil(stop / BLOCK)
        blocks = [self._block(self.pairing, block) for block in range(first, last)]
        return torch.cat(blocks)[start - first * BLOCK :][: stop - start]

    def _block(self, pairing: Pairing, block: int) -> Tensor:
        batch = self.data.batch(self.data.held_out, np.arange(block * BLOCK, (block + 1) * BLOCK))
        generator = torch.Generator().manual_seed(step_seed(self.seed, 0, block, 1))
        return pairing(self.data.spec.modality.decode(batch.samples), generator)
