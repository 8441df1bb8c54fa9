"""Readings become findings: the same way while a run trains and afterwards, from its `metrics.csv`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount, Count
from adversaria.systems.base import SteppedModule

#: the measured values of one step by name, ``step`` among them; what was not measured is missing
Reading = Mapping[str, float]


#: what is logged of each network: its role follows
_OF_NETWORKS = (
    *("gradient_norm/", "gradient_peak/", "gradient_profile/", "nonfinite_share/"),
    *("rate/", "singular_value/", "update_ratio/"),
)


def networks_of(names: Iterable[str]) -> list[str]:
    """The roles of the networks that values of these ``names`` belong to, in alphabetical order."""
    return sorted({name.split("/")[1].removesuffix("_ratio") for name in names if name.startswith(_OF_NETWORKS)})


@dataclass(frozen=True)
class Detector(ABC):
    """Knows one way in which a training fails.

    Its fields are its thresholds; they are numbers, and stand in the config.

    Args:
        patience: after how many readings in a row with a symptom it is found, 1 or more.
        after: generator updates before which nothing is judged: networks that were just made look sick.

    Attributes:
        explanation: what it is, in a sentence or two.
        advice: what to change.
        needs: names of values of which a reading must have one; ``gradient_peak/*`` stands for those of any network.
        roles: of the networks that it speaks of; a system without one of them is not shown to it.

    Raises:
        UserError: ``patience`` is below 1.
    """

    patience: Count = 1
    after: Amount = 0

    explanation: ClassVar[str] = ""
    advice: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    roles: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise UserError(f"patience={self.patience} of a detector must be 1 or more readings")

    @abstractmethod
    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """The evidence in words if ``reading`` shows it, else None; ``earlier`` readings, the oldest first."""

    def judges(self, reading: Reading) -> bool:
        """Whether ``reading`` has the values that it needs; another one is passed over."""
        return reading["step"] >= self.after and any(_has(reading, need) for need in self.needs)

    def applies_to(self, roles: Collection[str]) -> bool:
        """Whether it has something to say of a system whose networks have these roles."""
        return set(self.roles) <= set(roles)


def unsuited(detectors: Mapping[str, Detector], system: SteppedModule) -> list[str]:
    """The names of those that ``system`` or the modality of its samples says make no sense for it."""
    says = (system.suits, system.spec.modality.suits)
    return [name for name, detector in detectors.items() if not all(suits(detector) for suits in says)]


def applicable(
    detectors: Mapping[str, Detector], roles: Collection[str] | None, unsuited: Collection[str]
) -> dict[str, Detector]:
    """Those that have something to say of a run, while it trains and afterwards.

    Args:
        detectors: by name.
        roles: of the run's networks; None: they are not known.
        unsuited: names that `unsuited` gave when it began.
    """
    return {
        name: detector
        for name, detector in detectors.items()
        if name not in unsuited and (roles is None or detector.applies_to(roles))
    }


def _has(reading: Reading, need: str) -> bool:
    if not need.endswith("*"):
        return need in reading
    return any(name.startswith(need[:-1]) for name in reading)


@dataclass(frozen=True)
class Finding:
    """One failure, found.

    Attributes:
        detector: its name in the config.
        step: generator updates done.
        evidence: the values that showed it.
    """

    detector: str
    step: int
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain, for checkpoints and results."""
        return asdict(self)


class Examination:
    """Shows each reading to every detector and keeps what they find.

    Args:
        detectors: by name.
        window: earlier readings that a detector may look at.
    """

    def __init__(self, detectors: Mapping[str, Detector], window: int = 50) -> None:
        self.detectors, self.window = dict(detectors), window
        #: the first finding of each detector
        self.findings: list[Finding] = []
        self._earlier: list[dict[str, float]] = []
        #: readings in a row that showed the symptom
        self._streaks = dict.fromkeys(self.detectors, 0)

    def observe(self, reading: Reading) -> list[Finding]:
        """What ``reading`` brought to light; each detector is heard once."""
        found = []
        for name, detector in self.detectors.items():
            if not detector.judges(reading):
                continue
            evidence = detector.symptom(reading, self._earlier)
            self._streaks[name] = self._streaks[name] + 1 if evidence else 0
            if evidence and self._streaks[name] >= detector.patience:
                finding = Finding(name, int(reading["step"]), evidence)
                found += [finding] * self.add(finding)
        self._earlier = [*self._earlier, dict(reading)][-self.window :]
        return found

    def in_words(self, finding: Finding) -> str:
        """What was found, what it is and what helps, in three lines."""
        detector = self.detectors[finding.detector]
        return (
            f"{finding.detector} after {finding.step} generator updates: {finding.evidence}\n"
            f"  what it is: {detector.explanation}\n"
            f"  what helps: {detector.advice}; see docs/stability.md#{finding.detector}"
        )

    def add(self, finding: Finding) -> bool:
        """Keeps a finding of a detector that has none yet; whether it had none."""
        if finding.detector not in self.detectors or finding.detector in {f.detector for f in self.findings}:
            return False
        self.findings.append(finding)
        return True

    @property
    def suspects(self) -> list[str]:
        """Detectors whose last reading showed the symptom, found or not yet."""
        return [name for name, streak in self._streaks.items() if streak]

    @property
    def status(self) -> str:
        """One word: the first failure that is present now, else ``healthy``; empty before the first reading."""
        if not self._earlier:
            return ""
        present = [name for name in self.suspects if self._streaks[name] >= self.detectors[name].patience]
        return present[0] if present else "healthy"

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "findings": [finding.to_dict() for finding in self.findings],
            "earlier": [dict(reading) for reading in self._earlier],
            "streaks": dict(self._streaks),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; detectors that the state does not know start anew."""
        self.findings = [Finding(**finding) for finding in state["findings"]]
        self._earlier = [dict(reading) for reading in state["earlier"]]
        self._streaks |= {name: n for name, n in state["streaks"].items() if name in self._streaks}
