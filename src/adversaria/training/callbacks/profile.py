"""A trace of some training steps."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.core.files import subfolder, write_text
from adversaria.core.ranges import Amount, Count
from adversaria.systems.base import SteppedModule


class Profile(Callback):
    """Writes ``profile/trace.json``, which https://ui.perfetto.dev opens, and a table of the costliest operations.

    Args:
        skip: generator updates before the trace, so that caches are warm.
        steps: generator updates in it.
    """

    def __init__(self, *, skip: Amount = 10, steps: Count = 5) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._profiler = torch.profiler.profile(
            activities=activities,
            schedule=torch.profiler.schedule(wait=skip, warmup=1, active=steps, repeat=1),
            on_trace_ready=self._write,
        )

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Starts the profiler, which waits for its turn."""
        self._run = Path(trainer.default_root_dir)
        self._profiler.start()

    def on_train_batch_end(self, *_: Any) -> None:
        """Tells the profiler that a step is over."""
        self._profiler.step()

    def on_train_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Stops the profiler."""
        self._profiler.stop()

    def _write(self, profiler: torch.profiler.profile) -> None:
        folder = subfolder(self._run, "profile")
        with tempfile.TemporaryDirectory(dir=folder) as private:  # the profiler takes a name, and writes through a link
            trace = Path(private) / "trace.json"
            profiler.export_chrome_trace(str(trace))
            os.replace(trace, folder / trace.name)
        table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
        write_text(folder / "operations.txt", table)
