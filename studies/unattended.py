"""Trains many runs, one core each, and goes on where it was left: what reports and tables are made of."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from studies import CONF, ROOT

#: the folder of a run, and what to override
Job = tuple[Path, tuple[str, ...]]


def add_roots(parser: argparse.ArgumentParser, data: Iterable[str]) -> None:
    """Where each data set of ``data`` lies."""
    for name in data:
        parser.add_argument(f"--{name}", default="", help=f"a folder or an archive of {name}; default: download it")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """How many runs at a time."""
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time (default: one a core)")


def root_of(data: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    """The override that says where ``data`` lies, if the command line did."""
    path = getattr(arguments, data)
    return (f"data.root={os.path.abspath(path)}",) if path else ()


def train_all(jobs: list[Job], workers: int, description: str) -> list[str]:
    """Trains what is not finished yet; what went wrong, a line each."""
    failed = []
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(jobs), desc=description, unit="run") as bar:
        for future in as_completed([pool.submit(_train, folder, overrides) for folder, overrides in jobs]):
            failed += [problem for problem in (future.result(),) if problem]
            bar.update()
    return failed


def cpu_minutes(folder: Path) -> float:
    """What a run took in all, evaluation included, on all of its threads."""
    return float(folder.with_suffix(".cpu").read_text()) / 60


def finished(folder: Path) -> bool:
    """Whether the run there has nothing left to train. A run that diverged is a result as well."""
    result = folder / "result.json"
    return result.is_file() and json.loads(result.read_text())["status"] != "stopped"


def _train(folder: Path, overrides: tuple[str, ...]) -> str | None:
    """One run; what went wrong, if something did."""
    if finished(folder):
        return None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), f"--config-dir={CONF}", *overrides, f"run_dir={folder}"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _, _, usage = os.wait4(process.pid, 0)
    folder.with_suffix(".cpu").write_text(f"{usage.ru_utime + usage.ru_stime:.1f}\n")
    return None if (folder / "result.json").is_file() else f"{folder} has no result; see {log.name}"
