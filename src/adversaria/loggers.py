"""Loggers that go on where a resumed run stands."""

from __future__ import annotations

import csv
import math
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor


class CSV(Logger):
    """``metrics.csv``: one row for each logged step, with the column ``step`` first.

    Lightning's CSVLogger deletes the file of an earlier start. This one appends, after dropping the rows beyond the
    step that the run resumes from. Scores of the same step go into the same row; a new column rewrites the file.

    Args:
        run_dir: the run's folder.
        resume_step: generator updates done when the run resumes; 0 for a new run.
    """

    def __init__(self, *, run_dir: str, resume_step: int = 0) -> None:
        super().__init__()
        self.path = Path(run_dir) / "metrics.csv"
        self._columns = ["step"]
        self._row: dict[str, float | str] = {}
        if self.path.exists():
            self._cut(resume_step)

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "csv"

    @property
    def version(self) -> str:
        """Lightning asks for one."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds to the row of ``step``; the rows of earlier steps are in the file by then."""
        if self._row and self._row["step"] != step:
            self.save()
        self._row |= {"step": float(step or 0), **metrics}

    @rank_zero_only
    def log_text(self, tag: str, text: str, step: int) -> None:
        """Adds a column of words to the row of ``step``."""
        self._row |= {"step": float(step), tag: text}

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def save(self) -> None:
        """Writes the row that is being collected."""
        if not self._row:
            return
        row, self._row = self._row, {}
        new = [name for name in row if name not in self._columns]
        if new or not self.path.exists():
            rows = self._read()
            self._columns += new
            self._rewrite(rows)
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow({name: _text(value) for name, value in row.items()})

    def finalize(self, status: str) -> None:
        """Writes the last row."""
        self.save()

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with open(self.path, newline="") as file:
            return [row for row in csv.DictReader(file) if row.get("step") and None not in row.values()]

    @rank_zero_only
    def _cut(self, resume_step: int) -> None:
        """Drops rows beyond ``resume_step``, and one that a kill left cut off."""
        rows = [row for row in self._read() if float(row["step"]) <= resume_step]
        self._columns = list(rows[0]) if rows else ["step"]
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, self.path)


class TensorBoard(TensorBoardLogger):
    """``tensorboard/``: scalars and pictures; what an interrupted start logged beyond the checkpoint is hidden.

    Args:
        run_dir: the run's folder.
        resume_step: generator updates done when the run resumes; 0 for a new run.
    """

    def __init__(self, *, run_dir: str, resume_step: int = 0) -> None:
        super().__init__(
            save_dir=run_dir,
            name="tensorboard",
            version="",
            default_hp_metric=False,
            **{"purge_step": resume_step + 1} if resume_step else {},  # type: ignore[arg-type]
        )

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """All values in one event: one for each would take a small model several milliseconds."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self.experiment._get_file_writer().add_summary(Summary(value=values), step)

    def log_picture(self, tag: str, rgb: Tensor, step: int) -> None:
        """Shows a uint8 ``[3, H, W]`` picture."""
        self.experiment.add_image(tag, rgb, step)

    def save(self) -> None:
        """Flushes; Lightning would write an empty ``hparams.yaml`` besides."""
        self.experiment.flush()


def _text(value: float | str) -> str:
    """Whole numbers without a point, all others with six significant digits."""
    if isinstance(value, str):
        return value
    if math.isfinite(value) and value == int(value):
        return str(int(value))
    return f"{value:.6g}"
