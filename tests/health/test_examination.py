"""Readings become findings once, after enough of them in a row, and a restored examination goes on as it would have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from adversaria.health import Detector, Examination, ExplodingGradients, Finding, GeneratorCollapse, NotFinite, Reading


@dataclass(frozen=True)
class Above(Detector):
    """Sees a symptom where ``value`` is above 1."""

    explanation = "what it is"
    advice = "what helps"
    needs = ("value",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        return f"value {reading['value']:g}, {len(earlier)} before" if reading["value"] > 1 else None


def steps(*values: float | None) -> list[dict[str, float]]:
    """A reading every ten updates; None: one of something else."""
    return [
        {"step": 10.0 * (k + 1), **({"other": 0.0} if value is None else {"value": value})}
        for k, value in enumerate(values)
    ]


def found(examination: Examination, readings: list[dict[str, float]]) -> list[Finding]:
    return [finding for reading in readings for finding in examination.observe(reading)]


def test_a_symptom_is_found_when_it_lasts() -> None:
    examination = Examination({"above": Above(patience=3)})
    assert found(examination, steps(2, 2, 0, 2, 2)) == []
    assert examination.suspects == ["above"]
    assert examination.status == "healthy"
    [finding] = found(examination, steps(2))
    assert finding == Finding("above", 10, "value 2, 5 before")
    assert examination.status == "above"


def test_readings_without_the_values_neither_count_nor_interrupt() -> None:
    examination = Examination({"above": Above(patience=3)})
    assert [f.step for f in found(examination, steps(2, None, 2, None, None, 2))] == [60]


def test_each_detector_is_heard_once_and_its_presence_ends() -> None:
    examination = Examination({"above": Above(), "later": Above(patience=2)})
    assert [(f.detector, f.step) for f in found(examination, steps(2, 2, 2, 2))] == [("above", 10), ("later", 20)]
    assert [f.detector for f in examination.findings] == ["above", "later"]
    found(examination, steps(0))
    assert (examination.suspects, examination.status) == ([], "healthy")
    assert found(examination, steps(2, 2)) == []  # told already
    assert examination.status == "above"


def test_a_detector_sees_the_readings_of_the_window_alone() -> None:
    examination = Examination({"above": Above()}, window=2)
    assert [f.evidence for f in found(examination, steps(0, 0, 0, 2))] == ["value 2, 2 before"]


def test_findings_from_elsewhere_are_kept_once_and_only_of_known_detectors() -> None:
    examination = Examination({"above": Above()})
    assert examination.add(Finding("above", 7, "seen"))
    assert not examination.add(Finding("above", 8, "seen again"))
    assert not examination.add(Finding("unknown", 8, "seen"))
    assert examination.findings == [Finding("above", 7, "seen")]
    assert found(examination, steps(2)) == []


def test_words_name_detector_step_evidence_explanation_and_advice() -> None:
    examination = Examination({"above": Above()})
    [finding] = found(examination, steps(3))
    words = examination.in_words(finding)
    for part in ("above", "10 generator updates", "value 3", "what it is", "what helps"):
        assert part in words


def test_a_restored_examination_goes_on_exactly() -> None:
    def made() -> Examination:
        detectors = {
            "exploding": ExplodingGradients(factor=5, oldest=3),
            "collapse": GeneratorCollapse(spread=0.1, fall=0.3, patience=3),
            "not_finite": NotFinite(),
        }
        return Examination(detectors, window=8)

    def reading(k: int) -> dict[str, float]:
        peak = 100.0 if k == 14 else 1.0 + k % 3
        spread = 1.0 if k < 9 else 0.25
        return {
            "step": float(k),
            "gradient_peak/generator": peak,
            "diversity/spread": spread,
            "nonfinite_share/generator": float(k == 16),
        }

    whole = made()
    expected = [(f.detector, f.step) for f in found(whole, [reading(k) for k in range(20)])]
    assert expected == [("collapse", 11), ("exploding", 14), ("not_finite", 16)]
    for cut in range(1, 20):
        first, second = made(), made()
        before = found(first, [reading(k) for k in range(cut)])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))  # plain values
        after = found(second, [reading(k) for k in range(cut, 20)])
        assert [(f.detector, f.step) for f in before + after] == expected
        assert second.state_dict() == whole.state_dict()
        assert (second.status, second.suspects) == (whole.status, whole.suspects)


def test_detectors_that_are_new_since_the_state_was_saved_start_anew() -> None:
    old, new = Examination({"above": Above(patience=2)}), Examination({"another": Above(patience=2)})
    found(old, steps(2))
    new.load_state_dict(old.state_dict())
    assert new.suspects == []
    assert [f.step for f in found(new, steps(2, 2))] == [20]
