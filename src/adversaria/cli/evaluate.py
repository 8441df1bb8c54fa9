"""``python evaluate.py checkpoint=...``: scores of a trained model or of images, and how they were made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adversaria.cli import app
from adversaria.config.admission import EVERYTHING, Trust
from adversaria.config.aliases import merged, metric_names, named_metrics
from adversaria.config.fields import check_fields
from adversaria.config.plain import Plain, conf_dir
from adversaria.core.downloads import without_downloads
from adversaria.core.errors import UserError
from adversaria.core.text import as_file_name, shown

if TYPE_CHECKING:
    from adversaria.data.module import DataModule
    from adversaria.evaluation.protocol import Metrics
    from adversaria.evaluation.scoring import Subject
    from adversaria.features.extractor import Extractor

log = logging.getLogger("adversaria")

#: the measurements beyond `Metrics`, by group
Further = dict[str, Any]


def main() -> int:
    """The command; returns its exit code."""
    return app.run("evaluate", job)


def job(config: Plain) -> int:
    """Opens what is to be scored and what it is compared with, scores, prints and writes."""
    from adversaria.cli.records import add_records, read_records
    from adversaria.evaluation.fingerprint import fingerprint_id
    from adversaria.evaluation.protocol import missing_of
    from adversaria.evaluation.scoring import score

    _check(config)
    stored, place = _place(config)
    log.info("%-10s %s", "of", shown(place))
    out = Path(config["out"] or place / "evaluation.json").expanduser()
    read_records(out)  # what is there is refused now if it is something else
    with _as_stored(bool(config["data"] or config["reference"] or not stored), "data"):
        data = _reference(config, stored)
    for line in data.description().splitlines():
        log.info("%-10s %s", "reference", line)
    subjects = _subjects(config, data)
    count = next(iter(subjects.values())).count
    metrics = _metrics(config, stored, data, count)
    further = _further(config, data, metrics, count)
    records: list[dict[str, Any]] = []
    for each in metrics.values():
        for name, subject in subjects.items():
            with _as_stored(bool(metric_names(config["metrics"]) or not stored), "metrics"):
                scores, made = score(subject, data, each)
            about = {"subject": name, **subject.about, "reference": data.name}
            how = {"fingerprint_id": fingerprint_id(made), "fingerprint": made}
            records.append({**about, **how, "metrics": dict(scores), "missing": missing_of(scores)})
    # The two that take long, of the first alone: the last checkpoint, unless another one was named.
    made_by = fingerprint_id({**records[0]["fingerprint"], "memorisation": config["memorisation"]})
    first = as_file_name(f"{records[0]['subject']}{records[0].get('generator_updates', '')}")
    picture = out.with_name(f"memorisation_{first}_{made_by}.png")
    records[0] |= _run_further(further, next(iter(subjects.values())), data, _extractor(metrics), picture)
    out.parent.mkdir(parents=True, exist_ok=True)
    add_records(out, records)
    for start in range(0, len(records), len(subjects)):
        _print(records[start : start + len(subjects)])
    log.info("%-10s %s", "scores", shown(out))
    log.info("%-10s %s", "of", shown(place))
    return 0


def _as_stored(chosen: bool, group: str) -> AbstractContextManager[None]:
    """Where a group is as the checkpoint says, and not ``chosen`` here, nothing is downloaded for it."""
    return nullcontext() if chosen else without_downloads(f"name it yourself, as in {group}=... on the command line")


def _check(config: Plain) -> None:
    check_fields("evaluate", config)
    if config["standing"] is not None and config["images"] is not None:
        raise UserError(
            f"standing={config['standing']} is for a checkpoint, and images have no BatchNorm; leave it out"
        )
    if (config["checkpoint"] is None) == (config["images"] is None):
        raise UserError("give either checkpoint=<run folder or .ckpt> or images=<folder, archive, .npz or .npy>")
    if config["data"] and config["reference"]:
        raise UserError(f"reference={config['reference']} and data= are two references; give one")
    if config["images"] is not None and not (config["data"] or config["reference"]):
        raise UserError("images= needs something to be compared with; add data=cifar10 or reference=<folder>")


def _place(config: Plain) -> tuple[Plain, Path]:
    """The config of the run that the checkpoint is of (empty for images), and where results go."""
    from adversaria.runs.checkpoints import read_checkpoint
    from adversaria.runs.folder import find_checkpoint, results_folder

    if config["checkpoint"] is None:
        path = Path(config["images"]).expanduser()
        return {}, path.parent
    path = find_checkpoint(config["checkpoint"])
    return read_checkpoint(path)["config"], results_folder(path)


def _reference(config: Plain, stored: Plain) -> DataModule:
    """What the samples are compared with, ready."""
    from adversaria.config.build import construct
    from adversaria.data.images.given import images_at

    if config["reference"] is not None:
        return images_at(str(config["reference"]), key="reference")
    node, trust = config["data"] or {}, Trust(config["trust"])
    if not node and stored:
        node, trust = _of_checkpoint(stored, "data"), Trust(config["trust"], EVERYTHING)
        log.info("%-10s %s as the checkpoint says: %s", "data", shown(node.get("name")), shown(node.get("_target_")))
    data: DataModule = construct(node, "data", trust)
    data.prepare()
    return data


def _subjects(config: Plain, data: DataModule) -> dict[str, Subject]:
    """What is scored, by name: of a run's folder its last and its best checkpoint."""
    import torch

    from adversaria.data.images.given import images_at
    from adversaria.evaluation.scoring import check_same_kind, of_images, of_sampler
    from adversaria.runs.folder import Run, find_checkpoint
    from adversaria.sampling.sampler import load

    if config["images"] is not None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        given = images_at(str(config["images"]), key="images")
        subjects = {"images": of_images(given, device, class_names=data.class_names)}
    else:
        paths = [find_checkpoint(config["checkpoint"])]
        best = Run(config["checkpoint"]).best
        paths += [best] if best.is_file() and best != paths[0] else []
        samplers = {path: load(path, raw=config["raw"], trust=config["trust"]) for path in paths}
        if config["standing"] is not None:
            for sampler in samplers.values():
                sampler.use_standing_statistics(config["standing"], seed=config["seed"])
        subjects = {path.stem: of_sampler(sampler, config["seed"]) for path, sampler in samplers.items()}
        for path, subject in zip(paths, subjects.values(), strict=True):
            subject.about["checkpoint"] = str(path)
    for subject in subjects.values():
        check_same_kind(subject, data)
    return subjects


def _metrics(config: Plain, stored: Plain, data: DataModule, count: int | None) -> dict[str, Metrics]:
    """The chosen metrics, else those of the run, else those that suit the data; at most ``count`` fakes each.

    Single keys, as in ``metrics.count=500``, change those that are not chosen here.
    """
    from adversaria.config.build import construct
    from adversaria.evaluation.several import refuse_equal_scores

    node, trust = config["metrics"] or {}, Trust(config["trust"])
    if not metric_names(node):
        node = named_metrics(merged(_unchosen_metrics(stored, data), node))
        trust = Trust(config["trust"], EVERYTHING if stored else ())
    if stored and not metric_names(node):
        raise UserError("the run was trained with metrics=none; choose some, for example metrics=inception")
    for name, each in node.items():
        if count is not None and each.get("count", 0) > count:
            key = shown(f"metrics.{name}.count={each['count']}")
            log.info("%-10s all %d images are compared: fewer than %s", "images", count, key)
            node = {**node, name: {**each, "count": count}}
    metrics: dict[str, Metrics] = construct(node, "metrics", trust, spec=data.spec)
    refuse_equal_scores({name: [each.monitor] for name, each in metrics.items()})
    return metrics


def _unchosen_metrics(stored: Plain, data: DataModule) -> Plain:
    """By name those of the run that the checkpoint is of; without one those that suit the data."""
    import yaml

    if not stored:
        name = "classifier" if data.spec.num_classes else "inception"
        return {name: yaml.safe_load((conf_dir() / "metrics" / f"{name}.yaml").read_text("utf-8"))}
    node = _of_checkpoint(stored, "metrics")
    for name in metric_names(node):
        target = shown(node[name]["_target_"])
        log.info("%-10s %s as the checkpoint says: %s", "metrics", shown(name), target)
    return node


def _of_checkpoint(stored: Plain, group: str) -> Plain:
    """A group as the checkpoint has it, with this machine's folders.

    Raises:
        UserError: what is there is no choice.
    """
    from adversaria.sampling.restore import of_this_machine

    node = stored.get(group) or {}
    if not isinstance(node, dict):
        raise UserError(f"{group}={shown(node)} of the checkpoint is no choice of {group}; add {group}=...")
    ours: Plain = of_this_machine(node)
    return ours


def _extractor(metrics: Mapping[str, Metrics]) -> Extractor | None:
    """That of the first metrics which compare features."""
    from adversaria.evaluation.protocol import ComparesFeatures

    return next((each.extractor for each in metrics.values() if isinstance(each, ComparesFeatures)), None)


def _further(config: Plain, data: DataModule, metrics: Mapping[str, Metrics], count: int | None) -> Further:
    """Memorisation and usefulness, as far as they are asked for: refused now, if they must be, and run later."""
    from adversaria.config.build import construct

    made: Further = {}
    for group in ("memorisation", "usefulness"):
        node = config[group]
        if node and count is not None and "count" in node:
            node = {**node, "count": min(node["count"] or count, count)}
        if node:
            made[group] = construct(node, group, config["trust"])
    if "memorisation" in made and _extractor(metrics) is None:
        raise UserError("memorisation= compares features, which these metrics have none of; add metrics=classifier")
    if "usefulness" in made:
        made["usefulness"].check(data)
    return made


def _run_further(
    further: Further, subject: Subject, data: DataModule, extractor: Extractor | None, picture: Path
) -> Plain:
    report: Plain = {}
    with subject.drawing_from(data) as draw:
        if measure := further.get("memorisation"):
            scores = measure.evaluate(draw, data, extractor, subject.device, picture)
            report["memorisation"] = {**scores, "fingerprint": measure.fingerprint()}
            log.info("%-10s %s", "picture", picture)
        if measure := further.get("usefulness"):
            scores = measure.evaluate(draw, data, subject.device)
            report["usefulness"] = {**scores, "fingerprint": measure.fingerprint()}
    return report


def _print(records: list[dict[str, Any]]) -> None:
    """Scores beside each other, then how they were made."""
    log.info("%-30s %s", "", " ".join(f"{record['subject']:>12}" for record in records))
    for score in records[0]["metrics"]:
        log.info("%-30s %s", score, " ".join(f"{record['metrics'][score]:12.6g}" for record in records))
    for record in records:
        for name, why in record["missing"].items():
            log.info("no score   %s of %s: %s", name, record["subject"], why)
        for group in ("memorisation", "usefulness"):
            for name, value in record.get(group, {}).items():
                if name != "fingerprint":
                    log.info("%-30s %12.6g", name, value)
    log.info("%-30s %12s", "fingerprint", records[0]["fingerprint_id"])
    for name, value in records[0]["fingerprint"].items():
        log.info("  %-28s %s", name, shown(value))
