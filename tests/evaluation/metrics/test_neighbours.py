from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.evaluation.metrics import neighbours
from adversaria.evaluation.metrics.neighbours import NeighbourScores, neighbour_scores


def points(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def gaussian(n: int, dim: int, seed: int, shift: float = 0) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) + shift


def by_definition(real: Tensor, fake: Tensor, precision_k: int, density_k: int) -> NeighbourScores:
    """The papers' equations, on distances that are taken coordinate by coordinate in float64."""

    def distances(x: Tensor, y: Tensor) -> Tensor:
        return (x.double()[:, None] - y.double()).square().sum(dim=2)

    def radii(x: Tensor, k: int) -> Tensor:
        return distances(x, x).sort(dim=1).values[:, k]

    across = distances(real, fake)
    inside = across <= radii(real, density_k)[:, None]
    return NeighbourScores(
        precision=float((across <= radii(real, precision_k)[:, None]).any(0).double().mean()),
        recall=float((across <= radii(fake, precision_k)).any(1).double().mean()),
        density=float(inside.sum(0).double().mean() / density_k),
        coverage=float(inside.any(1).double().mean()),
    )


def test_on_a_line_by_hand() -> None:
    real, fake = points(0, 1, 3, 7), points(0.5, 1.5, 20, 21, 22)
    # balls of the reals: [-1, 1], [0, 2], [1, 5], [3, 11]; of the fakes: [-0.5, 1.5], [0.5, 2.5], [19, 21], ...
    # fakes 0.5 and 1.5 lie in two reals' balls each, the others in none; reals 0 and 1 lie in fakes' balls
    scores = neighbour_scores(real, fake, precision_k=1, density_k=1)
    assert scores == pytest.approx((2 / 5, 2 / 4, 4 / 5, 3 / 4))


def test_two_neighbours_on_a_line_by_hand() -> None:
    real, fake = points(0, 1, 3, 7), points(-3.5, -1.5, 15, 23)
    # balls of two neighbours, reals: [-3, 3], [-1, 3], [0, 6], [1, 13]; fakes: [-22, 15], [-18, 15], ...
    scores = neighbour_scores(real, fake, precision_k=2, density_k=2)
    assert scores == pytest.approx((1 / 4, 1, 1 / (2 * 4), 1 / 4))


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize(("m", "n", "dim"), [(60, 45, 3), (45, 60, 30), (64, 64, 200)])
def test_equals_the_definition_whatever_the_tiles(
    m: int, n: int, dim: int, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fake = gaussian(m, dim, 0, offset), gaussian(n, dim, 1, offset) * 0.9 + 0.1 * offset
    expected = by_definition(real, fake, precision_k=3, density_k=5)
    assert min(expected) > 0
    assert neighbour_scores(real, fake) == pytest.approx(expected)
    monkeypatch.setattr(neighbours, "TILE", 16)
    assert neighbour_scores(real, fake) == pytest.approx(expected)


def test_a_set_and_itself() -> None:
    real = gaussian(300, 20, 0, shift=10)
    # Each ball holds its centre and its k neighbours, the last of them on the boundary.
    assert neighbour_scores(real, real.flip(0), density_k=5) == pytest.approx((1, 1, 6 / 5, 1))


def test_far_apart_all_are_zero() -> None:
    assert neighbour_scores(gaussian(50, 8, 0), gaussian(60, 8, 1, shift=100)) == (0, 0, 0, 0)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_balls_of_radius_zero_hold_duplicates_and_nothing_else(offset: float) -> None:
    real = gaussian(12, 2048, 0, offset).repeat(6, 1)  # the five nearest neighbours of each are its copies
    fake = real[torch.randperm(72, generator=torch.Generator().manual_seed(0))]
    assert neighbour_scores(real, fake) == pytest.approx((1, 1, 6 / 5, 1))
    assert neighbour_scores(real, fake + 0.001) == (0, 0, 0, 0)


def test_the_boundary_belongs_to_the_ball_in_any_direction() -> None:
    directions = torch.linalg.qr(gaussian(256, 256, 0).double()).Q[:40]
    for direction in directions:
        line = torch.arange(4, dtype=torch.float64)[:, None] * direction + 3  # four points at distances of one
        scores = neighbour_scores(line[:2], line[2:], precision_k=1, density_k=1)
        assert scores == pytest.approx((1 / 2, 1 / 2, 1 / 2, 1 / 2))


def test_collapsed_fakes_are_precise_but_recall_and_cover_little() -> None:
    scores = neighbour_scores(gaussian(500, 4, 0), 1e-4 * gaussian(500, 4, 1))
    assert (scores.precision, scores.recall) == (1, 0)
    assert scores.density > 1
    assert 0 < scores.coverage < 0.05


def test_exchanging_the_sets_exchanges_precision_and_recall() -> None:
    real, fake = gaussian(200, 5, 0), 0.6 * gaussian(150, 5, 1)
    one, other = neighbour_scores(real, fake), neighbour_scores(fake, real)
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert one.precision > one.recall


@pytest.mark.parametrize(("m", "n", "k"), [(100, 100, 5), (60, 120, 3)])
def test_equal_distributions_have_density_one_and_the_coverage_of_the_lemma(m: int, n: int, k: int) -> None:
    draws = range(60)
    scores = np.array(
        [neighbour_scores(gaussian(m, 6, 2 * i), gaussian(n, 6, 2 * i + 1), density_k=k)[2:] for i in draws]
    )
    missed = np.prod([(m - i) / (m + n - i) for i in range(1, k + 1)])  # the k points nearest to a real are all reals
    errors = scores.std(axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(scores.mean(axis=0) - [1, 1 - missed]) < 3 * errors)
    assert errors.max() < 0.02


@pytest.mark.parametrize(
    ("sizes", "fields", "name"),
    [
        ((3, 50), {}, "precision_k=3"),
        ((50, 3), {}, "precision_k=3"),
        ((5, 50), {}, "density_k=5"),
        ((50, 50), {"density_k": 0}, "density_k=0"),
    ],
)
def test_too_few_neighbours_is_one_sentence(sizes: tuple[int, int], fields: dict[str, Any], name: str) -> None:
    with pytest.raises(UserError, match=f"metrics.{name} is not between 1 and") as caught:
        neighbour_scores(gaussian(sizes[0], 2, 0), gaussian(sizes[1], 2, 1), **fields)
    assert "\n" not in str(caught.value)


def test_just_enough_neighbours() -> None:
    assert neighbour_scores(gaussian(6, 2, 0), gaussian(4, 2, 1)).density > 0
