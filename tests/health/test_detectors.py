"""Each detector on constructed readings: just above and just below its threshold, and where it does not judge."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from adversaria.config.build import construct
from adversaria.core.errors import UserError
from adversaria.health import (
    DiscriminatorOverfits,
    DiscriminatorWon,
    Examination,
    ExplodingGradients,
    GeneratorCollapse,
    NotFinite,
    PosteriorCollapse,
    ScoreDegrades,
    VanishingGradients,
    networks_of,
)

ALL = [
    DiscriminatorOverfits,
    DiscriminatorWon,
    ExplodingGradients,
    GeneratorCollapse,
    NotFinite,
    PosteriorCollapse,
    ScoreDegrades,
    VanishingGradients,
]


def reading(**values: float) -> dict[str, float]:
    """``diversity__spread=1`` for ``diversity/spread``."""
    return {"step": 1000.0, **{name.replace("__", "/"): value for name, value in values.items()}}


def series(name: str, *values: float) -> list[dict[str, float]]:
    return [{"step": 100.0 * (k + 1), name: value} for k, value in enumerate(values)]


def steps_found(detector: Any, readings: list[dict[str, float]]) -> list[int]:
    examination = Examination({"it": detector})
    return [finding.step for reading in readings for finding in examination.observe(reading)]


@pytest.mark.parametrize(
    ("detector", "sick", "well"),
    [
        (DiscriminatorWon(d_signal=0.01), {"health__d_signal": 0.0099}, {"health__d_signal": 0.0101}),
        (
            DiscriminatorWon(d_signal=0.01),
            {"health__d_signal": 0.0, "health__g_signal": 2.0},
            {"health__d_signal": 1.0, "health__g_signal": 0.0},  # that D is beaten
        ),
        (GeneratorCollapse(spread=0.1), {"diversity__spread": 0.099}, {"diversity__spread": 0.101}),
        (DiscriminatorOverfits(overfitting=0.5), {"health__overfitting": 0.51}, {"health__overfitting": 0.49}),
        (
            PosteriorCollapse(unexplained=0.8),
            {"reconstruction__unexplained": 0.81},
            {"reconstruction__unexplained": 0.79},
        ),
        (ScoreDegrades(factor=2), {"health__score_ratio": 2.01}, {"health__score_ratio": 1.99}),
        (NotFinite(), {"nonfinite_share__generator": 1e-6}, {"nonfinite_share__generator": 0.0}),
        (
            NotFinite(),
            {"nonfinite_share__generator": 0.0, "gradient_peak__discriminator": math.inf},
            {"nonfinite_share__generator": 0.0, "gradient_peak__discriminator": 1e30},
        ),
        (
            NotFinite(),
            {"nonfinite_share__discriminator": 0.0, "gradient_peak__generator": math.nan},
            {"nonfinite_share__discriminator": 0.0, "gradient_peak__generator": 0.0},
        ),
    ],
    ids=lambda value: type(value).__name__ if dataclasses.is_dataclass(value) else "",
)
def test_thresholds(detector: Any, sick: dict[str, float], well: dict[str, float]) -> None:
    assert detector.judges(reading(**sick))
    assert detector.symptom(reading(**sick), []) is not None
    assert detector.symptom(reading(**well), []) is None


def values_of(kind: type) -> list[str]:
    """What a detector needs, of a network that it cannot know by name."""
    return [name.replace("*", "encoder") for name in kind.needs]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ALL)
def test_a_reading_without_its_values_is_passed_over(kind: type) -> None:
    detector = kind()
    assert not detector.judges(reading(loss__generator=1.0))
    for name in values_of(kind):
        alone = {"step": 1000.0, name: 0.5}  # any one of them must do
        assert detector.judges(alone)
        detector.symptom(alone, [])  # and no other may be asked for


@pytest.mark.parametrize("kind", ALL)
def test_nothing_is_judged_before_its_time(kind: type) -> None:
    detector = kind(after=500)
    name = values_of(kind)[0]
    assert not detector.judges({"step": 499.0, name: 1.0})
    assert detector.judges({"step": 500.0, name: 1.0})


@pytest.mark.parametrize("kind", ALL)
def test_each_says_what_it_is_and_what_helps_and_wants_patience(kind: type) -> None:
    assert len(kind.explanation) > 20  # type: ignore[attr-defined]
    assert len(kind.advice) > 20  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="patience=0"):
        kind(patience=0)


def test_patience_counts_readings_in_a_row() -> None:
    detector = GeneratorCollapse(spread=0.1, fall=0.1, patience=3)
    values = series("diversity/spread", 0.05, 0.05, 0.5, 0.05, 0.05, 0.05, 0.05)
    assert steps_found(detector, values) == [600]


def test_a_spread_falls_from_its_best_but_not_from_an_outlier() -> None:
    detector = GeneratorCollapse(spread=0.01, fall=0.2)
    assert steps_found(detector, series("diversity/spread", 0.8, 0.5, 0.17, 0.15)) == [400]
    assert steps_found(detector, series("diversity/spread", 91.0, 0.6, 0.21, 0.19)) == [400]
    assert steps_found(detector, series("diversity/spread", 0.05, 0.04, 0.06)) == []  # it never rose


def test_what_speaks_of_a_discriminator_applies_where_one_is() -> None:
    about_d = {kind for kind in ALL if not kind().applies_to({"generator", "encoder"})}
    assert about_d == {DiscriminatorWon, DiscriminatorOverfits}
    assert all(kind().applies_to({"encoder", "generator", "discriminator"}) for kind in ALL)


def test_networks_are_known_by_what_is_logged_of_them() -> None:
    names = ["gradient_profile/b_ratio", "gradient_profile/a/00_first", "rate/c", "loss/d", "gradient_norm_clipped/e"]
    assert networks_of(names) == ["a", "b", "c"]


@pytest.mark.parametrize("network", ["generator", "discriminator", "encoder"])
def test_a_spike_is_measured_against_the_oldest_readings(network: str) -> None:
    detector = ExplodingGradients(factor=10, oldest=3)
    name = f"gradient_peak/{network}"
    assert steps_found(detector, series(name, 1, 3, 2, 19.9, 2)) == []
    assert steps_found(detector, series(name, 1, 3, 2, 20.1, 2)) == [400]
    # One outlier is no standard, an infinite one does not count, and two readings are one too few.
    assert steps_found(detector, series(name, 1, 1e6, 2, 2, 2, 20.1)) == [600]
    assert steps_found(detector, series(name, 1, 3, math.inf, 30.1)) == []
    assert steps_found(detector, series(name, 1, math.inf, 3, 2, 20.1)) == [500]


def test_growth_without_bound_is_found_though_no_step_of_it_is_a_spike() -> None:
    values = [1.3**k for k in range(40)]
    [step] = steps_found(ExplodingGradients(factor=100, oldest=5), series("gradient_peak/discriminator", *values))
    # against the median of the first five, 1.3**2
    assert step == 100 * (1 + math.ceil(2 + math.log(100) / math.log(1.3)))


def test_slow_growth_within_the_window_is_no_explosion() -> None:
    values = series("gradient_peak/generator", *[1.1**k for k in range(100)])  # 14,000 times in all
    # The 20 before it begin with 1.1**-20 of it, and the median of the first five of them is 1.1**-18.
    assert steps_found(ExplodingGradients(factor=1.1**18 * 1.01, within=20), values) == []
    assert steps_found(ExplodingGradients(factor=1.1**18 * 0.99, within=20), values) == [2100]


def test_overfitting_is_the_median_of_five() -> None:
    detector = DiscriminatorOverfits(overfitting=0.5)
    noisy = series("health/overfitting", 0.1, 0.1, 4.7, 0.1, -2.0, 0.9, 0.9, 0.9)
    assert steps_found(detector, noisy) == [700]  # the first five that hold three above: 4.7, 0.9, 0.9


def test_nothing_overfits_where_reals_and_fakes_are_hardly_told_apart() -> None:
    detector = DiscriminatorOverfits(overfitting=0.5, separation=0.5)
    reading = {"step": 1.0, "health/overfitting": 0.9, "logits/real_std": 2.0, "logits/fake_std": 1.0}
    assert detector.symptom(reading | {"logits/gap": 1.49}, []) is None
    assert "r_t is 0.97" in (detector.symptom(reading | {"logits/gap": 1.51, "logits/real_sign": 0.97}, []) or "")


def profile(network: str, *norms: float) -> dict[str, float]:
    layers = {f"gradient_profile/{network}/{k:02d}_layer": norm for k, norm in enumerate(norms)}
    return {"step": 1000.0, f"gradient_profile/{network}_ratio": min(norms) / max(max(norms), 1e-30), **layers}


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_gradient_vanishes_where_a_quarter_of_the_layers_has_none(network: str) -> None:
    detector = VanishingGradients(ratio=1e-3)
    other = profile("discriminator" if network == "generator" else "generator", 1, 2, 3)

    def evidence(*norms: float) -> str | None:
        return detector.symptom(other | profile(network, *norms), [])

    decaying = [10.0**-k for k in range(8)]  # the second quarter begins at 1e-5
    found = evidence(*decaying)
    assert found is not None
    assert network in found
    assert "1e-05" in found
    assert evidence(*[3.0**-k for k in range(8)]) is None  # 3**-5
    # Of eight layers two may be shut off, three may not.
    assert evidence(1, 1, 1, 1, 1, 1, 0, 0) is None
    assert evidence(1, 1, 1, 1, 1, 0, 0, 0) is not None
    assert evidence(0, 0, 0, 0) is None  # no gradient at all is another failure


def test_a_gradient_below_the_epsilon_of_adam_has_vanished() -> None:
    detector = VanishingGradients(norm=1e-8)
    assert detector.judges({"step": 1.0, "gradient_peak/generator": 1.0})
    assert "generator" in (detector.symptom({"step": 1.0, "gradient_peak/generator": 0.9e-8}, []) or "")
    assert detector.symptom({"step": 1.0, "gradient_peak/generator": 1.1e-8}, []) is None


def test_the_default_config_is_of_these_detectors(make_config: Any) -> None:
    nodes = make_config()["callbacks"]["health"]["detectors"]
    made = construct(nodes, "callbacks.health.detectors", [])
    assert {type(detector) for detector in made.values()} == set(ALL)
