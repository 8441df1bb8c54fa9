"""metrics.csv over interruptions."""

from __future__ import annotations

import csv
from pathlib import Path

from adversaria.loggers import CSV


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def test_values_of_a_step_share_a_row_and_new_columns_join(tmp_path: Path) -> None:
    log = CSV(run_dir=str(tmp_path))
    log.log_metrics({"loss": 0.5}, step=10)
    log.log_metrics({"loss": 0.25}, step=20)
    log.log_metrics({"score": 7.0}, step=20)
    log.finalize("success")
    assert rows(tmp_path) == [
        {"step": "10", "loss": "0.5", "score": ""},
        {"step": "20", "loss": "0.25", "score": "7"},
    ]


def test_resume_drops_what_lies_beyond_the_checkpoint_and_keeps_the_rest(tmp_path: Path) -> None:
    log = CSV(run_dir=str(tmp_path))
    for step in (10, 20, 30):
        log.log_metrics({"loss": float(step)}, step=step)
    log.save()
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("40,4")  # a kill in the middle of a row
    again = CSV(run_dir=str(tmp_path), resume_step=20)
    again.log_metrics({"loss": 31.0}, step=30)
    again.finalize("success")
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("10", "10"), ("20", "20"), ("30", "31")]


def test_values_that_are_not_finite_are_written_as_such(tmp_path: Path) -> None:
    log = CSV(run_dir=str(tmp_path))
    log.log_metrics({"loss": float("nan"), "norm": float("inf")}, step=1)
    log.finalize("failed")
    assert rows(tmp_path) == [{"step": "1", "loss": "nan", "norm": "inf"}]
