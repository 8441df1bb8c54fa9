"""Intervals and tests against closed forms, and the direction of every score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adversaria.reporting.compare.formatting import estimate, number, scaled
from adversaria.reporting.compare.statistics import Estimate, ScoreName, differ, spread_name, without_spreads


def test_interval_of_three_values_is_students() -> None:
    value = Estimate.of([1.0, None, 2.0, 6.0])
    assert (value.n, value.mean) == (3, 3.0)
    # the 97.5% quantile of Student's t with two degrees of freedom, and the deviation of 1, 2, 6: sqrt(7)
    assert value.half_width == pytest.approx(4.30265273 * math.sqrt(7 / 3), rel=1e-8)


def test_a_single_value_has_no_interval() -> None:
    assert Estimate.of([3.0]).half_width is None
    assert math.isnan(Estimate.of([]).mean)


def test_the_interval_covers_the_mean_of_normal_values_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(5.0, 2.0, (1000, 4))
    estimates = [Estimate(tuple(row)) for row in draws]
    covered = np.mean([abs(e.mean - 5.0) <= (e.half_width or 0.0) for e in estimates])
    assert 0.93 < covered < 0.97


def test_welch_agrees_with_its_formula_on_either_side_of_the_level() -> None:
    # t = (mean difference) / sqrt(1/3 + 4/3) with Welch's 2.941 degrees of freedom: the level is t = 3.2196
    a = (0.0, 1.0, 2.0)
    for shift, expected in ((3.2196 * math.sqrt(5 / 3) - 0.01, False), (3.2196 * math.sqrt(5 / 3) + 0.01, True)):
        b = tuple(1.0 + shift + 2 * k for k in (-1, 0, 1))
        assert differ(Estimate(a), Estimate(b)) is expected
        assert differ(Estimate(b), Estimate(a)) is expected


def test_where_a_test_has_nothing_to_work_with() -> None:
    assert differ(Estimate((1.0,)), Estimate((5.0, 5.1))) is None
    assert differ(Estimate((8.0, 8.0)), Estimate((8.0, 8.0, 8.0))) is False
    assert differ(Estimate((8.0, 8.0)), Estimate((7.0, 7.0))) is True


@pytest.mark.parametrize(
    ("name", "parts", "direction"),
    [
        ("fid10k", ("", "fid", "10k", False), -1),
        ("classifier_fid10k_test", ("classifier", "fid", "10k", True), -1),
        ("classifier_intra_fid10k", ("classifier", "intra_fid", "10k", False), -1),
        ("my_net_precision500", ("my_net", "precision", "500", False), 1),
        ("classifier_is10k", ("classifier", "is", "10k", False), 1),
        ("classifier_class_kl10k", ("classifier", "class_kl", "10k", False), -1),
        ("modes_covered", ("", "modes_covered", "", False), 1),
        ("mode_tv", ("", "mode_tv", "", False), -1),
        ("sharpness", ("", "sharpness", "", False), 0),
    ],
)
def test_names_of_scores_say_which_way_is_up(name: str, parts: tuple[str, str, str, bool], direction: int) -> None:
    assert ScoreName.parse(name) == parts
    assert ScoreName.parse(name).direction == direction


def test_deviations_belong_to_their_score() -> None:
    names = ["kid10k", "kid10k_std", "kid10k_test", "kid10k_std_test", "own_std"]
    assert spread_name("kid10k", names) == "kid10k_std"
    assert spread_name("kid10k_test", names) == "kid10k_std_test"
    assert without_spreads(names) == ["kid10k", "kid10k_test", "own_std"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0232678, "0.02327"),
        (7.2849, "7.285"),
        (12480.0, "12,480"),
        (1803.66, "1,804"),
        (-0.00123456, "−0.001235"),
        (3.2e-7, "3.200e-07"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_estimates_have_two_digits_of_their_interval() -> None:
    assert estimate(Estimate((2.9, 3.0, 3.4))) == "3.10 ± 0.66"
    assert estimate(Estimate((0.02, 0.0207, 0.0201))) == "0.02027 ± 0.00094"
    assert estimate(Estimate((1000.0, 1500.0))) == "1,250 ± 3,177"
    assert estimate(Estimate((5.0,))) == "5"
    assert estimate(Estimate((0.1 + 0.2, 0.3))) == "0.3000"  # equal up to rounding
    assert estimate(Estimate(())) == "–"


def test_large_counts_have_a_prefix() -> None:
    assert [scaled(x) for x in (999.0, 1_074_305.0, 5.7e9, None)] == ["999", "1.07 M", "5.7 G", "–"]
