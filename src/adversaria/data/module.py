"""The data module: what training, evaluation and reports know of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count, Seed, Workers
from adversaria.core.text import check_name
from adversaria.core.types import Batch, DataSpec
from adversaria.data.storage import Split, Storage, choose, endless
from adversaria.data.stream import EpochStream, StepIndices

if TYPE_CHECKING:
    from adversaria.data.images.survey import Survey

SplitName: TypeAlias = Literal["train", "test"]

_SHOWN_CLASSES = 12
#: samples that are made into images at a time
_BLOCK = 256
#: added to the seed for the order of conditions that belong to no sample
_OTHER_ORDER = 2**40


@dataclass(frozen=True)
class Loaded:
    """A data set ready for use.

    Attributes:
        spec: what networks must know of it.
        splits: ``train``, and ``test`` where there is one.
        identities: of each split, plain; two data sets with equal identities have equal samples.
        class_names: None without labels.
        notes: what the user should know, one sentence each.
        conditions: what networks are given beside the samples, by split, where ``spec.condition`` says that there is
            something; of its labels nothing is used.
        aligned: whether the i-th condition belongs to the i-th sample; else each has an order and a number of its own.
    """

    spec: DataSpec
    splits: dict[str, Split]
    identities: dict[str, dict[str, str | int]]
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    conditions: dict[str, Split] = field(default_factory=dict)
    aligned: bool = True


class DataModule(LightningDataModule):
    """A data set, and the endless stream of its reals.

    The batch of a step is a pure function of (seed, step, rank, world), and the same for every ``storage``: a run
    resumes at any step without a saved state. Nothing random happens here but the order of the stream; mirroring is
    part of `decode`, which runs inside the training step.

    Args:
        name: for reports and fingerprints.
        batch_size: reals per D step on one device.
        storage: where the samples lie while training: ``device``, ``memory``, ``disk`` (memory-mapped, read by
            workers), ``files`` (a folder's images decoded by workers whenever they are used, without a cache; data that
            are not images: as ``disk``), or ``auto``: the first of device, memory and disk that has room.
        num_workers: processes that read ahead from disk or files.
        seed: of the order.

    A new kind of data set overrides `load`.

    Attributes:
        mirror: whether `decode` flips half of the images.
        modes: ``[K, D]``, the centres of the modes of data that are a mixture of Gaussians; None for other data.
        sigma: the standard deviation of each of them; None for other data.
        channel_classifier: ``digits``, ``mnist`` or ``cifar10``, whose committed classifier names what each channel of
            a sample shows; None where channels are no pictures of their own.
    """

    mirror: bool = False
    modes: Tensor | None = None
    sigma: float | None = None
    channel_classifier: str | None = None

    def __init__(self, *, name: str, batch_size: Count, storage: Storage, num_workers: Workers, seed: Seed) -> None:
        super().__init__()
        check_name("data.name", name)  # it becomes part of paths
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size}: give at least 1")
        if num_workers < 0:
            raise UserError(f"data.num_workers={num_workers}: give 0 (read in the main process) or more")
        if storage not in get_args(Storage):
            raise UserError(f"data.storage={storage}: give one of {', '.join(get_args(Storage))}")
        self.name: str = name
        self.batch_size = batch_size
        self.storage = storage
        self.num_workers = num_workers
        self.seed = seed
        self._loaded: Loaded | None = None

    def load(self) -> Loaded:
        """Gets, converts and opens the data; fast when that has been done before.

        Raises:
            UserError: whatever is wrong with the data.
        """
        raise NotImplementedError

    def survey(self) -> Survey | None:
        """What can be known of the training images before any is decoded; None for data that are none.

        Raises:
            UserError: as `load`.
        """
        return None

    def prepare_data(self) -> None:
        """Downloads and decodes what is missing."""
        self.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Opens the data in this process."""
        self.prepare()

    def prepare(self) -> None:
        """`prepare_data` and `setup` without a trainer; once done, further calls do nothing.

        Raises:
            UserError: whatever is wrong with the data, or it has fewer training samples than a batch.
        """
        if self._loaded is not None:
            return
        loaded = self.load()
        count = len(loaded.splits["train"])
        if self.batch_size > count:
            raise UserError(
                f"data.batch_size={self.batch_size} is larger than the {count:,} training samples of {self.name}: "
                f"set data.batch_size={count} or less"
            )
        if loaded.class_names is not None:  # they stay with the model
            spec = replace(loaded.spec, class_names=tuple(loaded.class_names))
            loaded = replace(loaded, spec=spec)
        self._loaded = loaded

    @property
    def loaded(self) -> Loaded:
        """The data, after `prepare`."""
        if self._loaded is None:
            raise RuntimeError("call prepare() before asking for the data")
        return self._loaded

    @property
    def spec(self) -> DataSpec:
        """What networks must know of the data."""
        return self.loaded.spec

    @property
    def class_names(self) -> list[str] | None:
        """In the order of the labels; None without labels."""
        return self.loaded.class_names

    @property
    def class_counts(self) -> list[int] | None:
        """Training samples per class; None without labels."""
        labels = self.split("train").labels
        if labels is None or self.class_names is None:
            return None
        return [int(count) for count in np.bincount(labels, minlength=len(self.class_names))]

    @property
    def held_out(self) -> SplitName:
        """The split that is evaluated on where what is given comes from data: the test split if there is one."""
        return "test" if "test" in self.loaded.splits else "train"

    def split(self, which: SplitName) -> Split:
        """The stored samples of one split.

        Raises:
            UserError: the data set has no such split.
        """
        if which not in self.loaded.splits:
            raise UserError(f"{self.name} has no {which} split: add a folder {which}/ beside train/, or use the other")
        return self.loaded.splits[which]

    def batch(self, which: SplitName, numbers: NDArray[np.integer[Any]]) -> Batch:
        """The samples of these numbers as they are stored, with their labels, or with the conditions of these numbers.

        Args:
            which: the split.
            numbers: ``[n]``, from 0; beyond the last sample or condition they begin again.
        """
        split, conditions = self.split(which), self.loaded.conditions
        batch = split.batch(numbers % len(split))
        if not conditions:
            return batch
        return Batch(batch.samples, conditions[which].batch(numbers % len(conditions[which])).samples)

    def images(self, which: SplitName) -> Split:
        """One split as the images that features may be taken of, in memory if they are not what is stored.

        Raises:
            UserError: the samples are no images, or there is no such split.
        """
        split, as_image = self.split(which), self.spec.modality.as_image
        first = split.batch(slice(0, 1)).samples
        image = as_image(first)
        if image is first:
            return split
        if image is None:
            raise UserError(f"{self.name} has {self.spec.modality.noun}, of which there are no images")
        starts = range(0, len(split), _BLOCK)
        blocks = [as_image(split.batch(slice(start, start + _BLOCK)).samples) for start in starts]
        return Split(torch.cat([b for b in blocks if b is not None]).permute(0, 2, 3, 1).numpy(), split.labels)

    def identity(self, which: SplitName) -> dict[str, str | int]:
        """What tells this split from any other, plain, for fingerprints."""
        self.split(which)
        return dict(self.loaded.identities[which])

    def description(self) -> str:
        """One line for the log (count, shape, classes with their counts), and one for each thing to know."""
        splits = " and ".join(f"{len(split):,} {name}" for name, split in self.loaded.splits.items())
        shape = "x".join(str(side) for side in self.spec.shape)
        return "\n".join(
            [f"{self.name}: {splits} {self.spec.modality.noun} of {shape}, {self._classes()}", *self.loaded.notes]
        )

    def _classes(self) -> str:
        if self.class_names is None or self.class_counts is None:
            return "no labels"
        each = [f"{name} {count:,}" for name, count in zip(self.class_names, self.class_counts, strict=True)]
        if len(each) > _SHOWN_CLASSES:
            each = [*each[: _SHOWN_CLASSES - 2], "...", each[-1]]
        noun = "class" if len(self.class_names) == 1 else "classes"
        return f"{len(self.class_names)} {noun}: {', '.join(each)}"

    def reals(self, step: int, rank: int, world: int, count: int) -> Batch:
        """The ``count`` reals of a rank in a step, in memory: what every loader yields there, computed directly."""
        streams = [split.batch(steps.at(step)) for split, steps in self._streams(step, rank, world, count)]
        return streams[0] if len(streams) == 1 else Batch(streams[0].samples, streams[1].samples)

    def loader(
        self, start: int, rank: int, world: int, count: int, device: torch.device, rollbacks: int = 0
    ) -> Iterable[Batch]:
        """Endless: ``reals(start, ...)``, ``reals(start + 1, ...)``, ... for training on ``device``.

        After ``rollbacks`` of the run the order is another.
        """
        streams = self._streams(start, rank, world, count, rollbacks)
        processes = self.trainer.num_devices if self.trainer is not None else 1
        storage = choose(self.storage, sum(split.samples.nbytes for split, _ in streams), device, processes)
        loaders = [endless(split, steps, storage, device, self.num_workers) for split, steps in streams]
        return loaders[0] if len(loaders) == 1 else WithConditions(*loaders)

    def train_dataloader(self) -> Iterable[Batch]:
        """Endless batches of ``batch_size * batches_per_step`` reals for this rank, from the trainer's step on."""
        trainer = self.trainer
        if trainer is None:
            raise RuntimeError("train_dataloader() needs a trainer; without one, use loader() or reals()")
        return self.loader(
            start=trainer.global_step,
            rank=trainer.global_rank,
            world=trainer.world_size,
            count=self.batch_size * int(trainer.lightning_module.batches_per_step),  # type: ignore[arg-type]
            device=trainer.strategy.root_device,
            # a module of a user's own, which is no system, has none
            rollbacks=len(getattr(trainer.lightning_module, "rollbacks", ())),
        )

    def val_dataloader(self) -> Iterable[Tensor]:
        """One dummy: evaluation happens in callbacks, the validation loop is only their clock."""
        return _Tick()

    def decode(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Samples as the networks see them, for use inside a seeded training step.

        Returns:
            float ``[N, *spec.shape]``, images in the memory format of the batch (channels-last), each mirrored with
            probability 1/2 if ``mirror``; and the labels ``[N]``, or the conditions float ``[N, *condition.shape]``,
            mirrored alike.
        """
        samples, labels = batch
        condition = self.spec.condition
        if self.mirror:
            coin = torch.rand(len(samples), 1, 1, 1, device=samples.device) < 0.5
            samples = torch.where(coin, samples.flip(3), samples)
            if condition is not None and labels is not None:
                labels = torch.where(coin, labels.flip(3), labels)
        if condition is not None and labels is not None:
            labels = condition.modality.decode(labels)
        return self.spec.modality.decode(samples), labels

    def _streams(
        self, start: int, rank: int, world: int, count: int, rollbacks: int = 0
    ) -> list[tuple[Split, StepIndices]]:
        """The training samples in their order, and the conditions in theirs if there are any."""
        self.prepare()
        samples, conditions = self.split("train"), self.loaded.conditions.get("train")
        # the same order where the two belong together
        seed = self.seed if self.loaded.aligned else self.seed + _OTHER_ORDER
        wanted = [(samples, self.seed)] + ([] if conditions is None else [(conditions, seed)])
        return [
            (split, StepIndices(EpochStream(len(split), seed, rollbacks=rollbacks), start, rank, world, count))
            for split, seed in wanted
        ]


@dataclass(frozen=True)
class WithConditions:
    """Endless batches of samples and of conditions, as batches of both.

    Attributes:
        samples, conditions: each endless; they start anew whenever this is iterated.
    """

    samples: Iterable[Batch]
    conditions: Iterable[Batch]

    def __iter__(self) -> Iterator[Batch]:
        for batch, conditions in zip(self.samples, self.conditions, strict=True):
            yield Batch(batch.samples, conditions.samples)


class _Tick:
    def __iter__(self) -> Iterator[Tensor]:
        yield torch.zeros(1)

    def __len__(self) -> int:
        return 1
