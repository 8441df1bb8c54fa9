"""Sweeps: a folder for each cell, named after what is swept, and jobs that run in other processes than the command.

Hydra expands a sweep and its launcher runs the jobs: one after the other in this process, or in others (joblib,
submitit), where no job sees the variables of the command. What a job needs travels with the callback.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import multiprocessing
import os
import platform
import re
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adversaria.core.errors import UserError
from adversaria.core.files import locked
from adversaria.core.text import shown
from adversaria.runs.folder import Run

log = logging.getLogger("adversaria")

#: exit code of a run that a signal stopped: EX_TEMPFAIL, try again
STOPPED = 75
_LONGEST_NAME = 120


class SweepStopped(BaseException):
    """A signal stopped a job; the jobs after it are not to start. Hydra goes on after any `Exception`."""


class JobFailed(Exception):
    """Brings a job's exit code home from another process, after the job has said what was wrong."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Sweep(Callback):
    """What a job knows of its sweep; Hydra makes one for each command and takes it along to each job.

    Attributes:
        path: the sweep's folder; None for a single run.
        swept: the keys that have several values.
    """

    #: that of the job that runs in this process
    current: ClassVar[Sweep | None] = None
    #: a signal came, no further job of this process is to start
    stopping: ClassVar[bool] = False
    _gpu: ClassVar[contextlib.ExitStack | None] = None

    def __init__(self) -> None:
        self.path: Path | None = None
        self.swept: list[str] = []
        self._made: list[Path] = []
        self._process = _process()

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before the sweep, and before it writes multirun.yaml or looks at the overrides' values."""
        Sweep.current = self
        with contextlib.suppress(OmegaConfBaseException):  # Hydra, which needs it next, says what is wrong with it
            self.path = Path(config.hydra.sweep.dir).absolute()
        if self.path is None:
            return
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        preset = OmegaConf.select(config, "hydra.sweeper.params") or {}
        lines = [f"{key}={value}" for key, value in preset.items()]
        lines += map(str, config.hydra.overrides.task._content)
        last = {line.get_key_element(): line for line in OverridesParser.create().parse_overrides(lines)}
        self.swept = [key for key, line in last.items() if line.is_sweep_override()]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    @classmethod
    def reset(cls) -> None:
        """Forgets the sweep of an earlier command in this process."""
        cls.current, cls.stopping = None, False

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before each job, in the job's process."""
        Sweep.current = self

    @property
    def elsewhere(self) -> bool:
        """Whether the job runs in another process than the command."""
        return self._process != _process()

    def folder(self, overrides: Sequence[str]) -> Path:
        """The folder of the cell that these overrides make: the same whenever and in whatever sweep it comes up."""
        assert self.path is not None
        return self.path / self.cell(overrides)

    def cell(self, overrides: Sequence[str]) -> str:
        """What tells the cell from the others, as a file's name: ``loss-hinge_seed-1``.

        The keys are in alphabetical order, so that the command line may be reordered. Whatever needs quotes on a
        command line becomes a hyphen, and a few digits of a hash then keep the name unique.
        """
        swept = sorted(line for line in overrides if line.split("=", 1)[0] in self.swept)
        exact = ",".join(swept)
        name = re.sub(r"[^\w.-]+", "-", "_".join(line.lstrip("+~").replace("=", "-", 1) for line in swept))
        if len(name) > _LONGEST_NAME or any(re.search(r"[^\w.-]", line.split("=", 1)[-1]) for line in swept):
            name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
        return name or "run"

    def enter(self, number: int) -> None:
        """Readies another process for the job with this number."""
        assert self.path is not None
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # a stop before training saves nothing, but reports
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        if Sweep._gpu is None and len(gpus := visible_gpus()) > 1:
            Sweep._gpu, name = claim_gpu(self.path, gpus, number)
            os.environ["CUDA_VISIBLE_DEVICES"] = name

    def leave(self, code: int) -> None:
        """Ends the sweep after a stop, and brings home from another process how the job ended.

        Raises:
            SweepStopped: in the command's process, after a stop.
            JobFailed: in another one, if the job did not succeed.
        """
        if self.path is None:
            return
        if self.elsewhere:
            Sweep.stopping = code == STOPPED
            if code:
                raise JobFailed(code)
        elif code == STOPPED:
            raise SweepStopped

    def discard(self) -> None:
        """Removes the folder of a sweep of which no job has started."""
        if self.path not in self._made or not self.path.is_dir() or len(list(self.path.iterdir())) > 1:
            return
        (self.path / "multirun.yaml").unlink(missing_ok=True)
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def summarise(self) -> None:
        """Says where the sweep is and how its runs ended, those of earlier starts included."""
        if self.path is None:
            return
        counts: Counter[str] = Counter()
        for file in self.path.glob("*/result.json"):
            try:
                counts[shown((Run(file.parent).read_result() or {})["status"])] += 1
            except UserError:
                counts["damaged"] += 1
        if counts:
            log.info("sweep      %s: %s", self.path, ", ".join(f"{count} {status}" for status, count in counts.items()))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """In the command's process, between its own runs or while it waits for those of others.

        joblib kills its workers when the command is interrupted, so it has to wait until they have saved. Ctrl-C
        reaches them from the terminal. Jobs of a queue go on without the command.
        """
        workers = multiprocessing.active_children()
        if self.elsewhere or not workers:
            raise KeyboardInterrupt
        log.info("stopping: the runs save themselves; Ctrl-C again ends them at once")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for worker in workers if number == signal.SIGTERM else []:
            worker.terminate()


def pass_on(name: str | None) -> None:
    """Passes the signal that has stopped a run to whoever waited for it before training.

    submitit's handler puts the job back into the queue, with the same arguments and thereby the same folder, and ends
    the process. The signals that mean an end are passed to nobody. Source: submitit, docs/checkpointing.md.
    """
    if name in ("SIGUSR1", "SIGUSR2"):  # only where there are such signals
        number = signal.Signals[name]
        handler = signal.getsignal(number)
        if callable(handler):
            handler(number, None)


def visible_gpus() -> list[str]:
    """NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    CUDA reads that variable once; asking torch could be that once.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name]
    return [str(k) for k, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def claim_gpu(folder: Path, gpus: Sequence[str], number: int) -> tuple[contextlib.ExitStack | None, str]:
    """A GPU that no other process of the sweep in ``folder`` holds, and what holds it until it is closed.

    Where all are taken, the jobs share them in turn by their ``number``.
    """
    for name in gpus:
        held = contextlib.ExitStack()
        with contextlib.suppress(BlockingIOError):
            held.enter_context(locked(folder / f".gpu-{name}"))
            return held, name
    return None, gpus[number % len(gpus)]


def _process() -> tuple[str, int]:
    return platform.node(), os.getpid()
