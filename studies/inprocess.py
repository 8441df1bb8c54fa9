"""Trains many short runs inside a few processes: starting Python for each would take longer than they do."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Sequence

from tqdm import tqdm

from studies import CONF
from studies.unattended import Job, finished


def train_in_workers(jobs: Sequence[Job], workers: int, description: str) -> list[str]:
    """Trains what is not finished yet, many runs in each process; what went wrong, a line each."""
    waiting = [job for job in jobs if not finished(job[0])]
    # "spawn": a fork of a process with threads of PyTorch's may wait forever.
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_begin) as pool:
        problems = list(tqdm(pool.imap_unordered(_train, waiting), total=len(waiting), desc=description, unit="run"))
    return [problem for problem in problems if problem]


def _begin() -> None:
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    logging.getLogger("adversaria").setLevel(logging.ERROR)


def _train(job: Job) -> str | None:
    """One run; its ``result.json`` also gets the CPU seconds."""
    import adversaria
    from adversaria.runs.folder import Run

    folder, overrides = job
    started = time.process_time()
    try:
        result = adversaria.train(*overrides, run_dir=folder, config_dir=CONF)
    except Exception as error:  # the other runs go on
        return f"{folder}: {type(error).__name__}: {error}"
    result["cpu_seconds"] = round(time.process_time() - started, 1)
    Run(folder).write_result(result)
    return None
