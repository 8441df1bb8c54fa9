"""Shows finished runs to the detectors of today: what was measured stands in ``metrics.csv``, nothing is trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from adversaria.health import Detector, Examination, Reading
from adversaria.reporting.compare.runs import read_rows
from adversaria.reporting.doctor.history import build_detectors, default_detectors, replayed

#: what makes a detector's threshold stricter: a smaller or a larger value
STRICTER = {
    "exploding_gradients": {"factor": -1},
    "vanishing_gradients": {"ratio": 1},
    "generator_collapse": {"spread": 1, "fall": 1},
    "discriminator_won": {"d_signal": 1},
    "discriminator_overfits": {"overfitting": -1},
    "score_degrades": {"factor": -1},
}
MARGINS = (1.25, 1.5, 2, 3, 4, 5, 7, 10, 20, 50, 100, 1000)


def detectors() -> dict[str, Detector]:
    """Those of `conf/callbacks/health.yaml`."""
    return build_detectors(default_detectors())


def readings(run: Path) -> list[Reading]:
    """What a run's detectors were shown, from its ``metrics.csv``: each reading and each evaluation on its own."""
    return list(replayed(read_rows(run / "metrics.csv")))


def found_in(run: Path, by: dict[str, Detector]) -> dict[str, int]:
    """The update at which each detector found something, in the order of finding."""
    examination = Examination(by)
    for reading in readings(run):
        examination.observe(reading)
    found = {finding.detector: finding.step for finding in examination.findings}
    # A run ends on NaN before it can be read.
    ended = {finding["detector"]: finding["step"] for finding in result_of(run).get("findings", [])}
    return found | {name: step for name, step in ended.items() if name == "not_finite"}


def result_of(run: Path) -> dict[str, Any]:
    """What a run says of its end."""
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return result


def done(run: Path) -> bool:
    """Whether a run has ended and measured its health."""
    return (run / "result.json").is_file() and bool(readings(run))


def margin(run: Path, name: str, detector: Any) -> float:
    """How many times stricter a detector's thresholds might be without an alarm in ``run``: one of `MARGINS`, or 1."""
    held = 1.0
    for times in MARGINS:
        stricter = {field: getattr(detector, field) * times**sign for field, sign in STRICTER[name].items()}
        if name in found_in(run, {name: dataclasses.replace(detector, **stricter)}):
            break
        held = times
    return held
