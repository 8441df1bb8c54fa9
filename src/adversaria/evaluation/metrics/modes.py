"""How many modes of a mixture of Gaussians a generator covers, and how well."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count
from adversaria.core.types import BLOCK, Draw
from adversaria.evaluation.protocol import Scores
from adversaria.features.extraction import gather_rows, untouched_rng

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

log = logging.getLogger(__name__)

#: A sample is of high quality within this many standard deviations of the nearest mode's centre.
RADIUS = 3.0


class ModeCoverage:
    """Modes covered and the share of high-quality samples, for data sets that know their modes (ring8, grid25).

    The definitions are those of Srivastava et al. 2017 ("VEEGAN", section 4.1), which Lin et al. 2018 ("PacGAN",
    section 4.1) share: a sample is of high quality if it lies within three standard deviations of the nearest mode, and
    a mode is covered if it is the nearest of at least one high-quality sample. Both use 2,500 samples. Of the data
    themselves 98.9% are of high quality: a Gaussian in the plane has ``exp(-9 / 2)`` beyond three standard deviations.

    Either can be perfect while the other is poor, so the best checkpoint is kept by ``mode_tv``: the total variation
    distance between the shares of the modes (with 'no mode' as one more) and equal shares. 0 is perfect; 1 means that
    no sample is of high quality; a single mode of K gives ``1 - 1 / K``.

    Args:
        count: number of samples.
    """

    monitor = "mode_tv"
    mode: Literal["min", "max"] = "min"

    def __init__(self, *, count: Count = 2500) -> None:
        if count < 1:
            raise UserError(f"metrics.count={count} is too small; it must be at least 1")
        self.count = count
        self._data: DataModule | None = None
        self._modes, self._sigma = torch.empty(0), math.nan

    def prepare(self, data: DataModule, device: torch.device) -> None:
        """Takes centres and spread from ``data.modes [K, D]`` and ``data.sigma``.

        Raises:
            UserError: the data have none.
        """
        if data.modes is None or data.sigma is None:
            raise UserError(
                f"metrics=modes needs data with known modes (ring8, grid25), which data={data.name} is not;"
                " choose metrics=classifier, metrics=inception or metrics=none"
            )
        self._data, self._modes, self._sigma = data, data.modes, float(data.sigma)

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        """``modes_covered`` (a number of modes), ``high_quality_share`` and ``mode_tv`` (0 to 1). See
        `adversaria.evaluation.protocol.Metrics.evaluate`.
        """
        self._prepared()
        with untouched_rng(device):
            samples = gather_rows(lambda *ends: draw(*ends).samples, self.count, 16 * BLOCK, device, "evaluation")
        if not bool(torch.isfinite(samples).all()):
            log.warning("samples are not finite: the scores of this evaluation are NaN")
            names = ("modes_covered", "high_quality_share", "mode_tv")
            return Scores(dict.fromkeys(names, math.nan), dict.fromkeys(names, "samples are not finite"))
        return mode_scores(samples, self._modes, self._sigma)

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """See `adversaria.evaluation.protocol.Metrics.fingerprint`."""
        data = self._prepared()
        return {
            "radius_in_sigmas": RADIUS,
            "sigma": self._sigma,
            **{f"reference_{name}": value for name, value in data.identity("train").items()},
            "fakes": self.count,
        }

    def _prepared(self) -> DataModule:
        if self._data is None:
            raise RuntimeError("call prepare() first")
        return self._data


def mode_scores(samples: Tensor, modes: Tensor, sigma: float) -> dict[str, float]:
    """The three scores of ``samples [N, D]`` for ``modes [K, D]`` of standard deviation ``sigma``."""
    distances, nearest = torch.cdist(
        samples.double(), modes.to("cpu", torch.float64), compute_mode="donot_use_mm_for_euclid_dist"
    ).min(dim=1)  # [N]
    hits = torch.bincount(nearest[distances <= RADIUS * sigma], minlength=len(modes))  # [K]
    shares = hits.double() / len(samples)
    quality = float(shares.sum())
    imbalance = float((shares - 1 / len(modes)).abs().sum())
    return {
        "modes_covered": float((hits > 0).sum()),
        "high_quality_share": quality,
        "mode_tv": (imbalance + 1 - quality) / 2,
    }
