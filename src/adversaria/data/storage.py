"""Where the reals lie while training: on the device, in memory or on disk. The batches are the same everywhere."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adversaria.core.errors import UserError
from adversaria.core.machine import memory_limit
from adversaria.core.types import Batch
from adversaria.data.mapped import Place, place_of, read_ahead
from adversaria.data.stream import EpochStream, StepIndices

Storage: TypeAlias = Literal["auto", "device", "memory", "disk", "files"]
Chosen: TypeAlias = Literal["device", "memory", "disk", "files"]
Indices: TypeAlias = slice | Sequence[int] | NDArray[np.integer[Any]] | Tensor

# The share of free device memory, or of a machine's memory, that `auto` lets a data set take.
_SHARE = 4
_WORDS = {"device": "on the device", "memory": "in memory", "disk": "in a memory map on disk"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Samples as they are stored.

    Attributes:
        samples: ``[N, H, W, C]`` uint8 images, or ``[N, D]`` float32 points; it may be mapped from disk.
        labels: ``[N]`` int64, or None.
    """

    samples: NDArray[Any]
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Indices) -> Batch:
        """The samples at ``indices`` in memory: ``[n, C, H, W]`` uint8 (channels-last strides) or ``[n, D]``."""
        rows = indices.cpu().numpy() if isinstance(indices, Tensor) else indices
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
        read_ahead(self.samples, rows)
        samples = torch.from_numpy(np.array(self.samples[rows]))
        labels = None if self.labels is None else torch.from_numpy(np.array(self.labels[rows]))
        return Batch(_channels_first(samples), labels)


class TensorStore:
    """A split as tensors on one device: a batch is one gather there."""

    def __init__(self, split: Split, device: torch.device | str) -> None:
        self.samples = torch.from_numpy(np.array(split.samples)).to(device)
        self.labels = None if split.labels is None else torch.from_numpy(split.labels).to(device)

    def batch(self, indices: Tensor) -> Batch:
        """The samples at ``indices [n]`` (on the same device): ``[n, C, H, W]`` uint8 or ``[n, D]`` float32."""
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return Batch(_channels_first(self.samples.index_select(0, indices)), labels)


@dataclass(frozen=True)
class EndlessBatches:
    """An iterable without an end or a length, which starts anew whenever it is iterated."""

    store: TensorStore
    steps: StepIndices
    pinned: bool

    def __iter__(self) -> Iterator[Batch]:
        for indices in self.steps:
            batch = self.store.batch(indices)
            if self.pinned:  # the copy to the device then overlaps with computing
                batch = Batch(batch.samples.pin_memory(), None if batch.labels is None else batch.labels.pin_memory())
            yield batch


def choose(storage: Storage, nbytes: int, device: torch.device, processes: int) -> Chosen:
    """Where ``nbytes`` of samples should lie.

    ``auto``: on the device if that takes at most a quarter of its free memory, else in memory if all ``processes`` of
    this machine take at most a quarter of it, else on disk. On the CPU, device and memory are the same.
    """
    if storage != "auto":
        return storage
    room: dict[Chosen, int] = {"memory": memory_limit() // processes}
    if device.type == "cuda":
        room = {"device": torch.cuda.mem_get_info(device)[0], **room}
    place: Chosen = next((place for place, nbytes_there in room.items() if nbytes * _SHARE <= nbytes_there), "disk")
    if place == "disk":
        reason = (
            f"more than a quarter of the {' and of the '.join(f'{_size(n)} of {name}' for name, n in room.items())}"
        )
    else:
        reason = f"at most a quarter of the {_size(room[place])}"
    logger.info("data     lies %s: %s, %s that a process has (data.storage=auto)", _WORDS[place], _size(nbytes), reason)
    return place


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**30:,.1f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.1f} MiB"


def endless(
    split: Split,
    steps: StepIndices,
    storage: Chosen,
    device: torch.device,
    num_workers: int,
) -> Iterable[Batch]:
    """Batches of ``split`` for every step of ``steps``, whose stream lies on the CPU.

    Raises:
        UserError: the device has no room for the samples.
    """
    pinned = device.type == "cuda"
    if storage in ("disk", "files"):
        return DataLoader(
            _Rows(split),
            sampler=_ForWorkers(steps, split),
            batch_size=None,  # an "index" is all indices of a step
            num_workers=num_workers,
            pin_memory=pinned,
            generator=torch.Generator(),  # or it would draw from the global one
        )
    if storage == "memory":
        return EndlessBatches(TensorStore(split, "cpu"), steps, pinned)
    try:
        store = TensorStore(split, device)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"data.storage=device: {split.samples.nbytes / 2**30:.1f} GiB of samples do not fit on {device}: "
            f"set data.storage=auto or data.storage=memory"
        ) from error
    stream = EpochStream(steps.stream.length, steps.stream.seed, device, steps.stream.rollbacks)
    return EndlessBatches(store, replace(steps, stream=stream), pinned=False)


def _channels_first(samples: Tensor) -> Tensor:
    # Rows are stored [H, W, C]: seen as [C, H, W] they are channels-last without a copy.
    return samples.permute(0, 3, 1, 2) if samples.ndim == 4 else samples


class _Rows(Dataset[Batch]):
    """All that a worker process has. One that is not forked gets the place of a memory map, not its content."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __reduce__(self) -> tuple[Any, ...]:
        place = place_of(self.split.samples)
        if place is None:
            return _Rows, (self.split,)
        return _mapped_rows, (place, self.split.labels)

    def __getitem__(self, indices: NDArray[np.int64]) -> Batch:
        return self.split.batch(indices)


@dataclass(frozen=True)
class _ForWorkers:
    """The indices as arrays: a tensor would take a file descriptor on its way to a worker.

    The rows of the step after are on their way from disk to memory meanwhile, even without workers.
    """

    steps: StepIndices
    split: Split

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        for indices, following in itertools.pairwise(self.steps):
            read_ahead(self.split.samples, following.numpy())
            yield indices.numpy()


def _mapped_rows(place: Place, labels: NDArray[np.int64] | None) -> _Rows:
    return _Rows(Split(place.map(), labels))
