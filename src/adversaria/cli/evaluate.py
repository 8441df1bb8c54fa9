"""``python evaluate.py checkpoint=... data=cifar10``: scores of a trained model, with how they were made."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adversaria.cli import app
from adversaria.config import Plain, check_type
from adversaria.errors import UserError

if TYPE_CHECKING:
    from adversaria.api import Sampler

log = logging.getLogger("adversaria")


def main() -> int:
    """The command; returns its exit code."""
    return app.run("evaluate", job)


def job(config: Plain) -> int:
    """Loads the sampler, makes or loads the reference's features, scores, prints and writes."""
    from adversaria.api import load
    from adversaria.build import check, construct
    from adversaria.callbacks.evaluation import fingerprint
    from adversaria.runs import find_checkpoint, results_folder, write_atomically
    from adversaria.sampling import Draw

    check_type("seed", config["seed"], int, 0)
    check_type("raw", config["raw"], bool)
    trust = config["trust"]
    checkpoint = find_checkpoint(config["checkpoint"])
    folder = results_folder(checkpoint)
    log.info("%-10s %s", "run", folder)
    sampler = load(checkpoint, raw=config["raw"], trust=trust)
    data_node, metrics_node = (config[group] or sampler.config[group] for group in ("data", "metrics"))
    if not metrics_node:
        raise UserError("the run was trained with metrics=none; choose some, for example metrics=inception")
    for group, node in (("data", data_node), ("metrics", metrics_node)):
        check(node, group, trust)
    data = construct(data_node, "data", trust)
    data.prepare()
    _check_same_kind(sampler, data)
    metrics = construct(metrics_node, "metrics", trust, spec=data.spec)
    metrics.prepare(data, sampler.device)
    counts = data.class_counts if sampler.conditional else None
    draw = Draw(sampler.network, sampler.device, seed=config["seed"], class_weights=counts)
    scores = metrics.evaluate(draw, sampler.device)

    out = Path(config["out"] or folder / "evaluation.json")
    made = fingerprint(metrics, weights=sampler.weights, seed=config["seed"])
    report: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "generator_updates": sampler.generator_updates,
        "images_seen": sampler.images_seen,
        "metrics": scores,
        "fingerprint": made,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, json.dumps(report, indent=2) + "\n")
    for name, value in scores.items():
        log.info("%-28s %.6g", name, value)
    for name, value in made.items():
        log.info("  %-26s %s", name, value)
    log.info("%-10s %s", "scores", out)
    log.info("%-10s %s", "run", folder)
    return 0


def _check_same_kind(sampler: Sampler, data: Any) -> None:
    """Raises UserError unless the samples have the shape of the data."""
    if sampler.spec.shape != data.spec.shape:
        raise UserError(
            f"the model makes samples of shape {list(sampler.spec.shape)}, but {data.name} has {list(data.spec.shape)};"
            " choose the data set it was trained on, or data.size and data.channels to match"
        )
