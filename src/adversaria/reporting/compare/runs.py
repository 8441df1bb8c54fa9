"""Runs as a report sees them: read from their folders, with what is damaged named and left out."""

from __future__ import annotations

import functools
import glob
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adversaria.config.aliases import typed_today
from adversaria.config.plain import Plain, flatten
from adversaria.core.errors import UserError
from adversaria.core.files import read_text
from adversaria.core.rows import rows_of
from adversaria.core.text import cleaned, shown
from adversaria.runs.folder import Run

_SCORE = "score/"


@dataclass(frozen=True)
class RunRecord:
    """What the folder of one run says.

    Attributes:
        path: of the folder.
        config: with dotted keys.
        overrides: what the user typed.
        result: of ``result.json``.
        rows: of ``metrics.csv`` in the order of their ``step``; empty cells are left out.
        device: that it ran on, in words; empty if the folder does not say.
    """

    path: Path
    config: Plain
    overrides: tuple[str, ...]
    result: Plain
    rows: tuple[dict[str, float], ...]
    device: str

    @property
    def status(self) -> str:
        """``finished``, ``stopped``, ``diverged`` or ``unhealthy``."""
        return str(self.result["status"])

    @property
    def finished(self) -> bool:
        """Whether it came to the end of its budget."""
        return self.status == "finished"

    @property
    def rolled_back(self) -> bool:
        """Whether it was ever set back to an earlier state: it is then no sample of an untouched run."""
        return bool(self.result.get("rollbacks"))

    @property
    def seed(self) -> int | None:
        """Of the run."""
        return self.config.get("seed")

    @property
    def fingerprint(self) -> Plain:
        """How the scores of its monitored metrics were made; empty for a run without scores."""
        return self.result.get("fingerprint") or {}

    @property
    def fingerprints(self) -> dict[str, Plain]:
        """How its scores were made, by the name of the metrics; that of a run of one metrics may have no name."""
        made = self.result.get("fingerprints") or {}
        found = {name: record["fingerprint"] for name, record in made.items() if record["fingerprint"]}
        return found or ({"": self.fingerprint} if self.fingerprint or self.scores else {})

    def only(self, names: Sequence[str]) -> RunRecord:
        """The run as it would be with those of its metrics alone that have these names."""
        made = self.result.get("fingerprints") or {}
        if len(names) == len(self.fingerprints) or not set(names) <= made.keys():
            return self
        kept = {name: made[name] for name in made if name in names}
        first, hidden = next(iter(kept.values())), {s for n in made if n not in kept for s in made[n]["scores"]}
        best = self.result.get("best")
        result = {
            **self.result,
            "metrics": {name: v for name, v in (self.result.get("metrics") or {}).items() if name not in hidden},
            "missing": {name: v for name, v in (self.result.get("missing") or {}).items() if name not in hidden},
            "best": None if isinstance(best, dict) and best.get("name") in hidden else best,
            "fingerprint": first["fingerprint"],
            "fingerprint_id": first["fingerprint_id"],
            "fingerprints": kept,
        }
        rows = tuple(
            {name: v for name, v in row.items() if name.removeprefix(_SCORE) not in hidden} for row in self.rows
        )
        return replace(self, result=result, rows=rows)

    @property
    def scores(self) -> dict[str, float]:
        """The final ones, as far as they are finite."""
        metrics = self.result.get("metrics") or {}
        return {name: number for name, value in metrics.items() if (number := _finite(value)) is not None}

    @property
    def best(self) -> Plain | None:
        """``{"name", "value", "step"}`` of the monitored score at the best checkpoint."""
        best = self.result.get("best")
        return best if isinstance(best, dict) and _finite(best.get("value")) is not None else None

    @functools.cached_property
    def scores_at_best(self) -> dict[str, float]:
        """All scores at the best checkpoint; the monitored one exactly, the others as ``metrics.csv`` has them."""
        if self.best is None:
            return {}
        row: dict[str, float] = next((row for row in self.rows if row["step"] == self.best["step"]), {})
        scores = {name.removeprefix(_SCORE): value for name, value in row.items() if name.startswith(_SCORE)}
        return scores | {self.best["name"]: float(self.best["value"])}

    @property
    def images_per_second(self) -> float | None:
        """Reals shown in a second of training."""
        return _finite(self.result.get("images_per_second"))

    @property
    def largest_gradient_norm(self) -> float | None:
        """Over all logged steps and networks; infinite if one was not finite."""
        norms = [value for row in self.rows for name, value in row.items() if name.startswith("gradient_norm/")]
        return max((math.inf if math.isnan(norm) else norm for norm in norms), default=None)

    def cost(self, *keys: str) -> float | None:
        """A number of ``result["cost"]``, such as ``cost("flops", "generator")``; None if it was not measured."""
        value: Any = self.result.get("cost") or {}
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return _finite(value)

    def curve(self, score: str) -> list[tuple[float, float, float, float]]:
        """``(step, images seen, seconds, value)`` of each evaluation."""
        points = [(row["step"], row[_SCORE + score]) for row in self.rows if _SCORE + score in row]
        updates, images = float(self.result["generator_updates"]), float(self.result["images_seen"])
        clock = [(row["step"], row["seconds"]) for row in self.rows if "seconds" in row]
        clock = [(0.0, 0.0), *clock, (updates, float(self.result["seconds"]))]
        per_update = images / updates if updates else 0.0
        return [(step, step * per_update, _interpolate(step, clock), value) for step, value in points]

    @property
    def pictures(self) -> list[Path]:
        """The grids of the fixed latents, the last one last."""
        return sorted(path for path in Run(self.path).samples.glob("[0-9]*.png") if path.is_file())

    @property
    def reals(self) -> Path | None:
        """The picture of training data."""
        path = Run(self.path).samples / "reals.png"
        return path if path.is_file() else None


def find_runs(given: Iterable[str]) -> list[Path]:
    """The folders of runs at or below each path or glob pattern, once each, in order.

    Raises:
        UserError: nothing is there.
    """
    found: dict[Path, None] = {}
    for name in given:
        path = Path(name).expanduser()
        places = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(str(path)))]
        runs = [folder for place in places for folder in _below(place)]
        if not runs:
            raise UserError(f"runs={name} holds no run; name the folder of a run, or one with runs somewhere below it")
        found |= dict.fromkeys(runs)
    return list(found)


def read_runs(folders: Iterable[Path]) -> tuple[list[RunRecord], list[str]]:
    """The runs that can be read, and a sentence for each that cannot."""
    records, warnings = [], []
    for folder in folders:
        try:
            records.append(read_run(folder))
        except (UserError, OSError) as error:
            warnings.append(f"{shown(folder)} is left out: {error}")
    return records, warnings


def read_run(folder: Path) -> RunRecord:
    """One run.

    Raises:
        UserError: ``result.json`` or ``config.yaml`` is missing or damaged.
    """
    run = Run(folder)
    result = run.read_result()
    if result is None:
        raise UserError("it has no result.json, so it still runs or was killed")
    config = run.stored_config()
    if config is None:
        raise UserError("it has no config.yaml")
    environment = folder / "environment.txt"
    lines = read_text(environment).splitlines() if environment.is_file() else []
    return RunRecord(
        path=folder,
        config=flatten(cleaned(config)),
        overrides=tuple(cleaned(list(map(typed_today, run.stored_overrides())))),
        result=cleaned(result),
        rows=read_rows(folder / "metrics.csv"),
        device=", ".join(shown(line) for line in lines if line.startswith(("device ", "threads "))),
    )


def _below(place: Path) -> list[Path]:
    """The folders of runs at or below ``place``; loggers keep other files called ``config.yaml``."""
    folders = [config.parent for config in sorted(place.rglob("config.yaml"))]
    return [folder for folder in folders if (folder / "overrides.txt").is_file() or (folder / "result.json").is_file()]


def read_rows(path: Path) -> tuple[dict[str, float], ...]:
    """The whole rows of a ``metrics.csv`` by their step; empty if there is no file.

    Cells that are no numbers are left out.
    """
    if not path.is_file():
        return ()
    rows = [
        {name: number for name, cell in row.items() if (number := _number(cell)) is not None}
        for row in rows_of(path)[0]
    ]
    return tuple(sorted(rows, key=lambda row: row["step"]))


def _number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _interpolate(x: float, points: Sequence[tuple[float, float]]) -> float:
    """Linear between the two of ``points``, sorted by their first number, that ``x`` lies between."""
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 > x0 else y1
    return points[-1][1]


def canonical(value: Any) -> str:
    """Equal text for equal plain values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, default=str)
