"""Scores of nearest neighbours: improved precision and recall (Kynkäänniemi et al. 2019, "Improved Precision and Recall
Metric for Assessing Generative Models"), density and coverage (Naeem et al. 2020, "Reliable Fidelity and Diversity
Metrics for Generative Models").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.features.extraction import progress

#: Samples on a side of the tiles in which distances are computed.
TILE = 1024
#: Rounding puts a point on or off a sphere by this share of the squared norms; closer points lie on it. More than the
#: worst case of a float64 product of 4,096 terms; points a millionth of their norm apart are still told apart.
TOLERANCE = 1e-12


class NeighbourScores(NamedTuple):
    """How well the balls around samples of one set cover the other. A ball reaches to its centre's k-th nearest
    neighbour in the same set, itself excluded and its boundary included.

    Attributes:
        precision: share of fakes in the ball of any real, 0 to 1.
        recall: share of reals in the ball of any fake, 0 to 1.
        density: mean number of reals' balls that a fake lies in, divided by k; about 1 for equal distributions, more
            where fakes lie where reals are dense.
        coverage: share of reals with a fake in their ball, 0 to 1; for M reals and N fakes of equal distributions
            ``1 - (M - 1) ... (M - k) / ((M + N - 1) ... (M + N - k))`` is expected (lemma 2), 0.97 for k = 5, M = N.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(real: Tensor, fake: Tensor, *, precision_k: int = 3, density_k: int = 5) -> NeighbourScores:
    """All four from three passes over the distances, in float64 and tile by tile: beyond the features it takes less
    than 200 MB at F = 2048, however many they are.

    Args:
        real: finite features ``[M, F]``.
        fake: finite features ``[N, F]``.
        precision_k: neighbours within a ball for precision and recall.
        density_k: neighbours within a ball for density and coverage.

    Raises:
        UserError: a set has no k-th neighbour.
    """
    _check("precision_k", precision_k, min(len(real), len(fake)))
    _check("density_k", density_k, len(real))
    centre = real.mean(dim=0).to(torch.float64)
    precision_balls, density_balls = _balls(real, centre, precision_k, density_k)  # [M] each
    (recall_balls,) = _balls(fake, centre, precision_k)  # [N]

    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    recalled, covered = torch.zeros(2, len(real), dtype=torch.bool, device=real.device)
    memberships = 0
    for rows, columns, distances in _tiles(real, fake, centre, margin=TOLERANCE):
        precise[columns] |= (distances <= precision_balls[rows, None]).any(dim=0)
        recalled[rows] |= (distances <= recall_balls[columns]).any(dim=1)
        inside = distances <= density_balls[rows, None]
        covered[rows] |= inside.any(dim=1)
        memberships += int(inside.sum())
    precision, recall, coverage = (float(hits.double().mean()) for hits in (precise, recalled, covered))
    return NeighbourScores(precision, recall, memberships / (density_k * len(fake)), coverage)


def _check(name: str, k: int, samples: int) -> None:
    if not 1 <= k < samples:
        raise UserError(
            f"metrics.{name}={k} is not between 1 and {samples - 1}, the neighbours that each of {samples} samples has;"
            " change it, or give more samples"
        )


def _balls(features: Tensor, centre: Tensor, *ks: int) -> list[Tensor]:
    """For each k the squared distances ``[N]`` of ``features [N, F]`` to their k-th nearest neighbours."""
    count = max(ks) + 1  # a sample is its own nearest
    nearest = torch.full((len(features), count), torch.inf, dtype=torch.float64, device=features.device)
    for rows, columns, distances in _tiles(features, features, centre, margin=0, upper=True):
        nearest[rows] = torch.cat([nearest[rows], distances], dim=1).topk(count, largest=False).values
        if rows != columns:  # the tile mirrored at the diagonal
            nearest[columns] = torch.cat([nearest[columns], distances.T], dim=1).topk(count, largest=False).values
    return [nearest[:, k].clamp(min=0) for k in ks]


def _tiles(
    x: Tensor, y: Tensor, centre: Tensor, margin: float, upper: bool = False
) -> Iterator[tuple[slice, slice, Tensor]]:
    """``(rows, columns, distances)``: the squared distances ``[n, m]`` of ``x[rows]`` from ``y[columns]``, less the
    share ``margin`` of the squared norms, tile by tile; with ``upper`` those on and above the diagonal alone.

    ``|x|^2 + |y|^2 - 2 x . y`` loses the digits that norms and distances do not share; float64, and norms about the
    ``centre [F]``, leave enough of them.
    """
    for i in progress(range(0, len(x), TILE), "neighbours"):
        rows = slice(i, i + TILE)
        a = x[rows].to(torch.float64) - centre  # [n, F]
        for j in range(i if upper else 0, len(y), TILE):
            columns = slice(j, j + TILE)
            b = y[columns].to(torch.float64) - centre  # [m, F]
            squares = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
            yield rows, columns, squares.mul_(1 - margin).addmm_(a, b.T, alpha=-2)
