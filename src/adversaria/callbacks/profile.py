"""A trace of some training steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.ranges import Amount, Count


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

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Starts the profiler, which waits for its turn."""
        self._folder = Path(trainer.default_root_dir) / "profile"
        self._profiler.start()

    def on_train_batch_end(self, *_: Any) -> None:
        """Tells the profiler that a step is over."""
        self._profiler.step()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Stops the profiler."""
        self._profiler.stop()

    def _write(self, profiler: torch.profiler.profile) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self._folder / "trace.json"))
        table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
        (self._folder / "operations.txt").write_text(table)
