"""Folders of runs that nobody trained: written as training writes them, with numbers chosen for a test."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.modalities.pictures import save_picture, show

FINGERPRINT = {
    "extractor": "classifier",
    "extractor_weights": "33bb4f28575831ff",
    "resizer": "antialiased bilinear to 16x16",
    "reference_dataset": "digits",
    "reference_split": "train",
    "reference_count": 1433,
    "fakes": 10_000,
    "weights": "ema",
    "evaluation_seed": 0,
}
SPEC = DataSpec((1, 16, 16), None, Image())
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run("name", overrides=[...], curve=[9, 5, 6])``: see `write_run`."""
    return functools.partial(write_run, tmp_path)


@pytest.fixture(scope="session")
def make_run_in() -> MakeRun:
    """``make_run_in(root, "name", ...)``: see `write_run`."""
    return write_run


def write_run(
    root: Path,
    name: str,
    *,
    overrides: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    curve: Sequence[float] = (90.0, 5.0, 6.0),
    score: str = "classifier_fid10k",
    scores: Mapping[str, float | None] | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    pictures: bool = False,
    **result: Any,
) -> Path:
    """A run of as many evaluations as ``curve`` has values, in ``root/runs/name``.

    Overrides of plain keys also go into its config; what groups bring goes into ``config``; ``result`` into its
    ``result.json``.
    """
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    tree: dict[str, Any] = {"seed": 0, "run_dir": None, "data": {"name": "digits", "size": 16, "seed": 0}}
    tree = _with_overrides({**tree, **(config or {})}, overrides)
    tree["data"]["seed"] = tree["seed"]
    steps = [1000 * (i + 1) for i in range(len(curve))]
    best = int(np.argmin(curve)) if curve else 0
    metrics = {score: curve[-1], **(scores or {})} if curve else {}
    full = {
        "status": "finished",
        "generator_updates": steps[-1] if curve else 1000,
        "images_seen": 64 * (steps[-1] if curve else 1000),
        "seconds": 100.0,
        "images_per_second": 1920.0,
        "metrics": metrics,
        "best": {"name": score, "value": curve[best], "step": steps[best]} if curve else None,
        "checkpoint": "checkpoints/last.ckpt",
        "fingerprint": dict(FINGERPRINT if fingerprint is None else fingerprint) if curve else {},
        "precision": "32-true",
        "devices": 1,
        "rollbacks": 0,
        "cost": {
            "parameters": {"generator": 1_074_305, "discriminator": 662_529},
            "flops": {"generator": 123_000_000, "discriminator": 45_000_000},
            "latency_ms": {"1": 0.52, "64": 11.25},
            "peak_memory_mib": 912.4,
            "peak_memory_of": "process",
        },
        **result,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    (folder / "overrides.txt").write_text("".join(f"{line}\n" for line in overrides))
    (folder / "environment.txt").write_text("python 3.11\ndevice x86_64\nthreads 2\n")
    (folder / "result.json").write_text(json.dumps(full))
    _write_rows(folder / "metrics.csv", steps, curve, score, scores or {})
    if pictures:
        samples = torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        save_picture(folder / "samples" / "003000.png", show(samples, SPEC).picture)
        save_picture(folder / "samples" / "reals.png", show(samples.flip(0), SPEC).picture)
    return folder


def _with_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Groups are seen as ``<group>._target_``, as a choice of one brings a class."""
    for line in overrides:
        key, _, text = line.partition("=")
        *path, last = key.split(".") if "." in key or key == "seed" else [key, "_target_"]
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = yaml.safe_load(text)
    return tree


def _write_rows(
    path: Path, steps: Sequence[int], curve: Sequence[float], score: str, scores: Mapping[str, float | None]
) -> None:
    lines = [
        f"step,images_seen,seconds,gradient_norm/generator,score/{score}," + ",".join(f"score/{s}" for s in scores)
    ]
    for i, (step, value) in enumerate(zip(steps, curve, strict=True)):
        # the clock was read at twice the step, to tell times from images
        others = ",".join("" if v is None else str(v + i - len(curve) + 1) for v in scores.values())
        lines.append(f"{step},{64 * step},{step / 50},{2.5 + i},{value},{others}")
    path.write_text("\n".join(line.rstrip(",") for line in lines) + "\n")
