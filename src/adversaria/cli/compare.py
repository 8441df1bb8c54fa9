"""``python compare.py runs=outputs/sweeps/seeds``: runs side by side, scores only beside those made the same way."""

from __future__ import annotations

import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

from adversaria.cli import app
from adversaria.config import Plain, flatten
from adversaria.errors import UserError

log = logging.getLogger("adversaria")

_COLUMNS = ("run", "status", "generator_updates", "images_seen", "seconds", "images_per_second")
#: what tells runs apart but is no choice of the experiment
_INCIDENTAL = ("run_dir", "sweep_name")


def main() -> int:
    """The command; returns its exit code."""
    return app.run("compare", job)


def job(config: Plain) -> int:
    """Finds the runs, makes the table, prints or writes it."""
    given = config["runs"] if isinstance(config["runs"], list) else [config["runs"]]
    runs = [run for path in given for run in find_runs(Path(str(path)))]
    if not runs:
        raise UserError(f"runs={config['runs']} holds no run with a result.json; name a run or a folder of runs")
    table = compare(runs)
    if config["out"] is None:
        log.info("%s", markdown(table))
        return 0
    out = Path(config["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_csv(table) if out.suffix == ".csv" else markdown(table))
    log.info("%d runs: %s", len(runs), out)
    return 0


def find_runs(path: Path) -> list[Path]:
    """The folders at or below ``path`` that hold a finished, stopped or diverged run."""
    return sorted(result.parent for result in path.rglob("result.json") if (result.parent / "config.yaml").is_file())


def compare(runs: list[Path]) -> list[dict[str, Any]]:
    """A row for each run: the keys in which the configs differ, how it ended, its scores.

    A score's column is split when fingerprints differ: its name then carries a letter for each way it was made.
    """
    import yaml

    results = [json.loads((run / "result.json").read_text()) for run in runs]
    configs = [flatten(yaml.safe_load((run / "config.yaml").read_text())) for run in runs]
    keys = sorted({key for config in configs for key in config})
    differing = [
        key for key in keys if key not in _INCIDENTAL and len({json.dumps(config.get(key)) for config in configs}) > 1
    ]
    made = [json.dumps(result["fingerprint"], sort_keys=True) for result in results]
    ways = sorted({way for way, result in zip(made, results, strict=True) if result["metrics"]})
    rows = []
    for run, result, config, way in zip(runs, results, configs, made, strict=True):
        mark = f" [{chr(ord('A') + ways.index(way))}]" if len(ways) > 1 and way in ways else ""
        scores = {f"{name}{mark}": value for name, value in result["metrics"].items()}
        base = {name: result.get(name, str(run)) for name in _COLUMNS}
        rows.append(base | {key: config.get(key) for key in differing} | scores)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column) for column in columns} for row in rows]


def markdown(table: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    head = list(table[0])
    lines = [head, ["---"] * len(head), *([_text(row[column]) for column in head] for row in table)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_csv(table: list[dict[str, Any]]) -> str:
    """The table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
