"""What evaluation asks of the metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch

from adversaria.core.types import Draw
from adversaria.features.extractor import Extractor

if TYPE_CHECKING:
    from adversaria.data.module import DataModule


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
    """Scores of a generator, as ``conf/metrics/*.yaml`` builds them; those of one run share no name of a score."""

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
class ComparesFeatures(Protocol):
    """Metrics that look at samples through a frozen network, which other measures may use as well."""

    extractor: Extractor
