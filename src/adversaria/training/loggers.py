"""Loggers that go on where a resumed run stands."""

from __future__ import annotations

import csv
import io
import logging
import math
import secrets
import shutil
import threading
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor

from adversaria.core.files import append, replacing, subfolder, write_text
from adversaria.core.rows import rows_of
from adversaria.core.text import shown
from adversaria.training.run_logger import RunLogger

log = logging.getLogger("adversaria")


class CSV(RunLogger):
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
        with append(self.path) as file:
            csv.DictWriter(file, self._columns).writerow({name: _text(value) for name, value in row.items()})

    def finalize(self, status: str) -> None:
        """Writes the last row."""
        self.save()

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        return rows_of(self.path)[0]

    @rank_zero_only
    def _cut(self, resume_step: int) -> None:
        """Drops rows beyond ``resume_step``, and one that a kill left cut off; a damaged file is kept beside."""
        rows, damaged = rows_of(self.path)
        if damaged:
            kept = self.path.with_name("metrics.damaged.csv")
            with replacing(kept) as file, open(self.path, "rb") as old:
                shutil.copyfileobj(old, file)
            log.warning(
                "%s has %d lines that are no rows; the %d that are go on, the file as it was is kept as %s",
                shown(self.path),
                damaged,
                len(rows),
                kept.name,
            )
        rows = [row for row in rows if float(row["step"]) <= resume_step]
        self._columns = list(rows[0]) if rows else ["step"]
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


class TensorBoard(RunLogger):
    """``tensorboard/``: scalars and pictures; what an interrupted start logged beyond the checkpoint is hidden.

    The events are written at once and in the caller's thread, to a file that nobody can have put there before. Those of
    PyTorch are written by a thread, which tells of a full disk in a traceback of its own.

    Args:
        run_dir: the run's folder.
        resume_step: generator updates done when the run resumes; 0 for a new run.
    """

    def __init__(self, *, run_dir: str, resume_step: int = 0) -> None:
        super().__init__()
        self._run_dir, self._resume_step = Path(run_dir), resume_step
        self._file: IO[bytes] | None = None
        self._writing = threading.Lock()

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "tensorboard"

    @property
    def version(self) -> str:
        """Lightning asks for one."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """All values in one event: one for each would take a small model several milliseconds."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._write(Event(step=step or 0, summary=Summary(value=values)))

    @rank_zero_only
    def log_picture(self, tag: str, rgb: Tensor, step: int) -> None:
        """Shows a uint8 ``[3, H, W]`` picture."""
        png = io.BytesIO()
        Image.fromarray(rgb.permute(1, 2, 0).numpy()).save(png, format="PNG")
        shown = Summary.Image(
            height=rgb.shape[1], width=rgb.shape[2], colorspace=3, encoded_image_string=png.getvalue()
        )
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=shown)])))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def save(self) -> None:
        """Flushes."""
        if self._file is not None:
            self._file.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Closes the file."""
        with self._writing:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with self._writing:
            if self._file is None:
                self._file = self._open()
            RecordWriter(self._file).write(event.SerializeToString())

    def _open(self) -> IO[bytes]:
        """A new file, which sorts after the earlier ones and hides what they have beyond the step of the resume."""
        folder, now = subfolder(self._run_dir, self.name), time.time_ns()
        moment = f"{now // 10**9:010d}.{now % 10**9:09d}"
        file = open(folder / f"events.out.tfevents.{moment}.{secrets.token_hex(4)}", "xb")  # noqa: SIM115
        # That of step 0 is shown anew.
        first = self._resume_step + 1 if self._resume_step else 0
        start = Event(step=first, session_log=SessionLog(status=SessionLog.START))
        for event in (Event(file_version="brain.Event:2"), start):
            event.wall_time = now / 10**9
            RecordWriter(file).write(event.SerializeToString())
        return file


def _text(value: float | str) -> str:
    """Whole numbers without a point, all others with six significant digits."""
    if isinstance(value, str):
        return value
    if math.isfinite(value) and value == int(value):
        return str(int(value))
    return f"{value:.6g}"
