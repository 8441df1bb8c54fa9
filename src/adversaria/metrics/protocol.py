"""What evaluation asks of the metrics, and what the metrics ask of a feature extractor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from adversaria.types import Batch

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

#: ``draw(start, stop)`` -> samples ``[stop - start, *spec.shape]``, uint8 images or in the spec's value range, and
#: their labels (None for an unconditional model). Sample i depends on i alone; both ends are multiples of `BLOCK`, so
#: that a generator may work in whole blocks.
Draw = Callable[[int, int], Batch]
BLOCK = 64


class Undefined(Exception):
    """A score has no value for these samples; the message says why, as a clause."""


class Scores(dict[str, float]):
    """Scores by name, NaN or infinite where there is none.

    Attributes:
        missing: why, by name, for each that is not finite.
    """

    def __init__(self, values: Mapping[str, float] | None = None, missing: Mapping[str, str] | None = None) -> None:
        super().__init__(values or {})
        why = {"nan": "the arithmetic gave NaN", "inf": "it is infinite", "-inf": "it is infinite"}
        unsaid = {name: why[str(value)] for name, value in self.items() if not math.isfinite(value)}
        self.missing: dict[str, str] = unsaid | dict(missing or {})


def missing_of(scores: Mapping[str, float]) -> dict[str, str]:
    """Why some of ``scores`` have no value; metrics of a user's own may give a plain dictionary."""
    return dict(scores.missing) if isinstance(scores, Scores) else Scores(scores).missing


class Metrics(Protocol):
    """Scores of a generator, as ``conf/metrics/*.yaml`` builds them."""

    @property
    def monitor(self) -> str:
        """The score by which the best checkpoint is kept."""
        ...

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a smaller or a larger one is better."""
        ...

    def prepare(self, data: DataModule, device: torch.device) -> None:
        """Makes or loads what every evaluation needs: extractor and reference statistics, cached on disk.

        Call it on every rank before the first evaluation, on rank 0 first so that the others find its cache.

        Raises:
            UserError: the data has no labels, weights cannot be downloaded, and the like.
        """
        ...

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        """Scores by name, the same on every rank; NaN (and one warning) where samples or arithmetic are not finite.

        As `Scores` they say why one has no value.

        Every rank calls it. The global random state stays as it was.
        """
        ...

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """How the scores are made. Only scores with equal fingerprints can be compared. Needs `prepare`."""
        ...


@runtime_checkable
class Extractor(Protocol):
    """An ``nn.Module`` whose activations are compared: the contract for your own.

    Attributes:
        name: stands in front of its scores, as in ``classifier_fid10k``.
        feature_dim: F, the number of features.
        weights_hash: tells its weights from all others, in fingerprints and caches.
        resizer: how images reach its native size, in words.
        classifies_data: optional; True says that its logits are of the data's own labels, in their order. Scores of
            classes are then computed as well.
    """

    name: str
    feature_dim: int
    weights_hash: str
    resizer: str

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 ``[N, C, H, W]`` -> float32 features ``[N, F]`` and class logits ``[N, K]``."""
        ...


@runtime_checkable
class LoadsForData(Protocol):
    """An extractor that loads or trains its weights only when the data is known."""

    def load(self, data: DataModule, device: torch.device, cache_dir: Path) -> None:
        """Afterwards the module and its attributes are ready. Raises UserError."""
        ...
