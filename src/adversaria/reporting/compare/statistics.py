"""Means with their uncertainty over seeds, and which direction of a score is better."""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Estimate:
        """Of the values that exist."""
        return cls(tuple(value for value in values if value is not None))

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """NaN without values."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def half_width(self) -> float | None:
        """Of the interval that covers the true mean with a probability of 95% if values are normally distributed:
        Student's t with n - 1 degrees of freedom times the standard error. None for fewer than two values."""
        if self.n < 2:
            return None
        return _quantile(self.n - 1) * statistics.stdev(self.values) / math.sqrt(self.n)


@functools.cache
def _quantile(degrees: int) -> float:
    """Of Student's t, such that `CONFIDENCE` lies between it and its negative."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))


@functools.cache
def differ(a: Estimate, b: Estimate) -> bool | None:
    """Whether two means differ by Welch's t-test (Welch 1947), two-sided at the level 1 - `CONFIDENCE`.

    None where fewer than two values on a side leave the question open.
    """
    if a.n < 2 or b.n < 2:
        return None
    if len(set(a.values)) == len(set(b.values)) == 1:  # no spread at all: the statistic would be 0 / 0
        return a.mean != b.mean
    from scipy.stats import ttest_ind

    return bool(ttest_ind(a.values, b.values, equal_var=False).pvalue <= 1 - CONFIDENCE)


#: by the stem of a score's name: 1 where more is better, -1 where less is
DIRECTIONS = {
    "fid": -1,
    "kid": -1,
    "is": 1,
    "precision": 1,
    "recall": 1,
    "density": 1,
    "coverage": 1,
    "intra_fid": -1,
    "class_accuracy": 1,
    "class_kl": -1,
    "missing_classes": -1,
    "duplicates": -1,
    "modes_covered": 1,
    "high_quality_share": 1,
    "mode_tv": -1,
    "mode_kl": -1,
    "mode_confidence": 1,
    "reconstruction_error": -1,
    "reconstruction_class_kept": 1,
}
#: those of `DIRECTIONS` that the first table shows besides the monitored score, if they are there
MAIN = (
    *("fid", "kid", "is", "precision", "recall", "modes_covered", "high_quality_share"),
    *("reconstruction_error", "reconstruction_class_kept"),
)

_STEMS = "|".join(sorted(DIRECTIONS, key=len, reverse=True))
_NAME = re.compile(rf"(?:(?P<extractor>\w+?)_)?(?P<stem>{_STEMS})(?P<samples>\d+k?)?(?P<split>_test)?")


class ScoreName(NamedTuple):
    """``classifier_fid10k_test``: extractor ``classifier``, stem ``fid``, count ``10k``, on the test split."""

    extractor: str
    stem: str
    samples: str
    test: bool

    @classmethod
    def parse(cls, name: str) -> ScoreName:
        """The parts; a name that is none of `DIRECTIONS` is all stem."""
        match = _NAME.fullmatch(name)
        if match is None:
            return cls("", name, "", False)
        return cls(match["extractor"] or "", match["stem"], match["samples"] or "", bool(match["split"]))

    @property
    def direction(self) -> int:
        """1 where more is better, -1 where less is, 0 where that is not known."""
        return DIRECTIONS.get(self.stem, 0)


def spread_name(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is the standard deviation of score ``name``, such as ``kid10k_std`` of ``kid10k``."""
    candidates = (f"{name}_std", f"{name.removesuffix('_test')}_std_test" if name.endswith("_test") else "")
    return next((candidate for candidate in candidates if candidate in set(names)), None)


def without_spreads(names: Iterable[str]) -> list[str]:
    """``names`` without those that are the standard deviation of another."""
    names = list(names)
    spreads = {spread_name(name, names) for name in names}
    return [name for name in names if name not in spreads]
