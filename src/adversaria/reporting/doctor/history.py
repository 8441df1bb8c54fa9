"""A run's folder becomes readings again, and those the findings that it had while it trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adversaria.config.build import construct
from adversaria.config.plain import Plain, conf_dir, flatten, near
from adversaria.core.errors import UserError
from adversaria.core.text import cleaned, shown
from adversaria.health import Detector, Examination, Finding, Reading, applicable, networks_of
from adversaria.reporting.compare.runs import read_rows
from adversaria.runs.folder import Run

#: begins a value of every reading that `adversaria.training.callbacks.Health` takes, whatever the system
_MARK = "gradient_peak/"
#: is a reading of its own, taken after an evaluation
_SCORE_RATIO = "health/score_ratio"
#: what else stands in the row of a reading: the score, logged afterwards, and statistics that no reading has
_BESIDE = (_SCORE_RATIO, "score/", "gradient_norm", "rate/", "throughput/", "images_seen", "seconds")
_WHERE = "callbacks.health.detectors"

Row = dict[str, float]


@dataclass(frozen=True)
class Segment:
    """A stretch of training and what the detectors say of it.

    Attributes:
        rows: of ``metrics.csv`` as it was at its end, from step 0 on.
        readings: the same as the detectors saw them.
        examination: after the last reading.
        after: the step from which on the rows are its own: that which its rollback led to.
        rollback: the entry of ``result.json`` by which it was given up; None for what the run is now.
    """

    rows: tuple[Row, ...]
    readings: tuple[Reading, ...]
    examination: Examination
    after: int = -1
    rollback: Plain | None = None

    @property
    def own_rows(self) -> tuple[Row, ...]:
        """Without those that an earlier or later segment has as well."""
        return tuple(row for row in self.rows if row["step"] > self.after)

    @property
    def findings(self) -> list[Finding]:
        """Those of its own."""
        return [finding for finding in self.examination.findings if finding.step > self.after]

    def judged(self, detector: str) -> int:
        """How many readings have what the detector looks at."""
        return sum(self.examination.detectors[detector].judges(reading) for reading in self.readings)


@dataclass(frozen=True)
class History:
    """All that a run's folder says about its health.

    Attributes:
        path: of the folder.
        config: of the run, with dotted keys.
        result: of ``result.json``; empty while there is none.
        measured: whether the run measured its health; if not, readings are made of what else it logged.
        own_detectors: whether its config names detectors; if not, they are those of ``conf/callbacks/health.yaml``.
        overridden: thresholds that are not those of the run.
        networks: the roles of its networks, in alphabetical order, as its columns name them.
        unsuited: detectors that its system or its samples' modality has no use for.
        now: what the run is.
        given_up: what it was before each rollback, the first one first.
    """

    path: Path
    config: Plain
    result: Plain
    measured: bool
    own_detectors: bool
    overridden: Plain
    networks: Sequence[str]
    unsuited: Sequence[str]
    now: Segment
    given_up: tuple[Segment, ...]

    @property
    def status(self) -> str:
        """Of ``result.json``, with the updates done; says so where there is none."""
        if self.result:
            return f"{self.result.get('status')} after {self.result.get('generator_updates')} generator updates"
        last = int(self.now.rows[-1]["step"]) if self.now.rows else 0
        return f"without a result after {last} generator updates: it still trains or was killed"

    @property
    def segments(self) -> tuple[Segment, ...]:
        """In the order in which they were trained."""
        return (*self.given_up, self.now)


def read_history(folder: Path, *, overrides: Plain | None = None, trust: Sequence[str] = ()) -> History:
    """Reads the folder of a run, finished or not, and examines it anew.

    Args:
        folder: of the run.
        overrides: values for arguments of detectors, by detector, instead of those in the run's config.
        trust: packages whose detectors the config may name; from the command line only.

    Raises:
        UserError: there is nothing to examine, or the detectors cannot be built.
    """
    run = Run(folder)
    config = cleaned(run.stored_config())
    if config is None:
        raise UserError(f"{shown(folder)} holds no run; name the folder that has its config.yaml")
    rows = read_rows(folder / "metrics.csv")
    if not rows:
        raise UserError(
            f"{shown(folder)} has no metrics.csv with rows; wait for its first logged step, or train with logger=csv"
        )
    callbacks = config.get("callbacks")
    health = callbacks.get("health") if isinstance(callbacks, dict) else None
    own = health.get("detectors") if isinstance(health, dict) else None
    node = _override(own or default_detectors(), overrides or {})
    every = default_health()["every_n_steps"]
    networks, without = networks_of({name for row in rows for name in row}), run.unsuited_detectors()

    def examine(
        rows: tuple[Row, ...], noted: Iterable[Plain], after: int = -1, rollback: Plain | None = None
    ) -> Segment:
        readings = tuple(replayed(rows) if health else gathered(rows, every))
        examination = Examination(build_detectors(node, trust, networks or None, without))
        for reading in readings:
            examination.observe(reading)
        for entry in noted:
            examination.add(Finding(str(entry["detector"]), int(entry["step"]), str(entry["evidence"])))
        return Segment(rows, readings, examination, after, rollback)

    result = cleaned(run.read_result() or {})
    history = History(
        path=folder,
        config=flatten(config),
        result=result,
        measured=bool(health),
        own_detectors=bool(own),
        overridden=flatten(overrides or {}),
        networks=networks,
        unsuited=[name for name in without if name in node],
        now=examine(rows, _noted(result)),
        given_up=tuple(
            examine(read_rows(file), [record], int(record["to_step"]), record)
            for file, record in zip(_files(folder), _rollbacks(run, result), strict=False)
        ),
    )
    _refuse_nothing(history, health)
    return history


def replayed(rows: Iterable[Row]) -> Iterable[Reading]:
    """The readings of a run that measured its health, one by one as its detectors saw them.

    A row may hold two: the networks are probed at the end of a step, the score is compared after its evaluation.
    """
    for row in rows:
        if any(name.startswith(_MARK) for name in row):
            yield {name: value for name, value in row.items() if not name.startswith(_BESIDE)}
        if _SCORE_RATIO in row:
            yield {_SCORE_RATIO: row[_SCORE_RATIO], "step": row["step"]}


def gathered(rows: Iterable[Row], every: int) -> Iterable[Reading]:
    """Readings of a run that did not measure its health: its last logged row in each ``every`` generator updates.

    The largest of the logged gradient norms in between stands for the peak of all of them.
    """
    stretches: dict[int, list[Row]] = {}
    for row in rows:
        stretches.setdefault(int((row["step"] - 1) // every), []).append(row)
    for stretch in stretches.values():
        merged = {name: value for row in stretch for name, value in row.items()}
        for name in [name for name in merged if name.startswith("gradient_norm/")]:
            norms = [row[name] for row in stretch if name in row]
            peak = max(norms, key=lambda norm: (norm != norm, norm))  # NaN is the largest
            merged[name.replace("gradient_norm/", "gradient_peak/")] = peak
        yield merged


def default_health() -> Plain:
    """The node of ``conf/callbacks/health.yaml``."""
    node: Plain = yaml.safe_load((conf_dir() / "callbacks" / "health.yaml").read_text("utf-8"))["health"]
    return node


def default_detectors() -> Plain:
    """Those of ``conf/callbacks/health.yaml``."""
    detectors: Plain = default_health()["detectors"]
    return detectors


def build_detectors(
    node: Plain, trust: Sequence[str] = (), networks: Collection[str] | None = None, without: Collection[str] = ()
) -> dict[str, Detector]:
    """The detectors of a stored config, which may name what any config may, and of that only detectors.

    Args:
        node: of the config.
        trust: packages whose detectors it may name.
        networks: roles of the run's networks; those that do not apply to them are left out. None: they are not known.
        without: names of further ones to leave out.

    Raises:
        UserError: something else is named, or a value does not fit.
    """
    if not isinstance(node, dict):
        raise UserError(f"{_WHERE}={node} of its config.yaml are not detectors by name; correct the file")
    detectors: dict[str, Detector] = construct(node, _WHERE, trust)
    return applicable(detectors, networks, without)


def _override(node: Plain, overrides: Plain) -> Plain:
    """``node`` with other arguments for detectors that it has."""
    for name, arguments in overrides.items():
        if name not in node:
            raise UserError(f"detectors.{name} is not one of the run ({', '.join(node)}){near(name, node)}")
        if not isinstance(arguments, Mapping):
            raise UserError(f"detectors.{name}={arguments} names no threshold; write detectors.{name}.<threshold>=...")
        node = node | {name: {**node[name], **arguments}}
    return node


def _noted(result: Plain) -> list[Plain]:
    """Findings that show in no reading: a run that diverged was ended between two."""
    if result.get("status") != "diverged":
        return []
    return [entry for entry in result.get("findings") or [] if entry["step"] == result["generator_updates"]]


def _files(folder: Path) -> list[Path]:
    """Rows of what was given up, by the number of the rollback."""
    return sorted((f for f in (folder / "rollbacks").glob("*.csv") if f.stem.isdigit()), key=lambda f: int(f.stem))


def _rollbacks(run: Run, result: Plain) -> list[Plain]:
    """One record for each; those of a run that still trains are in its checkpoint alone."""
    if result or not _files(run.path) or not run.last.is_file():
        records = result.get("rollbacks")
        return records if isinstance(records, list) else []
    from adversaria.runs.checkpoints import read_checkpoint

    rollbacks: list[Plain] = read_checkpoint(run.last).get("rollbacks") or []
    return rollbacks


def _refuse_nothing(history: History, health: Any) -> None:
    """Raises UserError if no detector has anything to look at."""
    segments = history.segments
    if any(segment.findings or segment.judged(name) for segment in segments for name in segment.examination.detectors):
        return
    if isinstance(health, dict) and not history.now.readings:
        raise UserError(
            f"{shown(history.path)} has no reading of its health yet; the first one is taken after "
            f"{health.get('every_n_steps')} generator updates (callbacks.health.every_n_steps)"
        )
    if not history.measured:
        raise UserError(
            f"{shown(history.path)}/metrics.csv has no column that a detector reads; train with callbacks.health, "
            "which is part of callbacks=default"
        )
