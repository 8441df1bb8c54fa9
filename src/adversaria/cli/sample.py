"""``python sample.py checkpoint=...``: pictures from a trained model."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adversaria.cli import app
from adversaria.config.fields import check_fields
from adversaria.config.plain import Plain, near
from adversaria.core.errors import UserError
from adversaria.core.text import as_file_name, shown

if TYPE_CHECKING:
    from torch import Tensor

    from adversaria.core.modality import Drawn, Writer
    from adversaria.core.types import DataSpec
    from adversaria.sampling.latents import Latents
    from adversaria.sampling.sampler import Sampler

log = logging.getLogger("adversaria")

_DEFAULT_COUNT = 64
#: numbers in the samples of a picture, beyond which no viewer opens it
_LARGEST_PICTURE = 2**27
#: what says nothing where pictures are edited
_OF_LATENTS = ("count", "format", "labels", "latents", "interpolate", "traverse", "truncation", "standing")
#: a grid has a column for each class if there are no more
_MOST_COLUMNS = 12


def main() -> int:
    """The command; returns its exit code."""
    return app.run("sample", job)


def job(config: Plain) -> int:
    """Loads the sampler, draws, writes."""
    _check(config)
    from adversaria.runs.folder import find_checkpoint, results_folder
    from adversaria.sampling.latents import read_latents
    from adversaria.sampling.sampler import load

    checkpoint = find_checkpoint(config["checkpoint"])
    folder = results_folder(checkpoint)
    log.info("%-10s %s", "run", shown(folder))
    sampler = load(checkpoint, raw=config["raw"], trust=config["trust"])
    if config["images"] is not None or sampler.translates:
        return _edit(sampler, config, folder, checkpoint)
    latents = None if config["latents"] is None else read_latents(config["latents"])
    config["count"] = config["count"] or _count(config, latents)
    writer = _writer(sampler.spec, config["format"])
    if config["standing"] is not None:
        sampler.use_standing_statistics(config["standing"], seed=config["seed"], truncation=config["truncation"])
    name = f"{default_name(checkpoint, sampler, config, latents)}{writer.suffix}"
    out = Path(config["out"] or folder / "generated" / name).expanduser()
    drawn = _drawn(sampler, config, latents)
    check_room(writer, drawn.count, sampler.spec, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    writer.write(drawn, out)
    updates = sampler.generator_updates
    log.info("%d samples of %s weights after %d generator updates", drawn.count, sampler.weights, updates)
    if config["labels"] is not None:
        log.info("%-10s %s", "labels", ", ".join(map(sampler.described, sampler.labels(config["labels"]) or ())))
    log.info("%-10s %s", "samples", shown(out))
    log.info("%-10s %s", "run", shown(folder))
    return 0


def _edit(sampler: Sampler, config: Plain, folder: Path, checkpoint: Path) -> int:
    """Edits pictures; the exit code."""
    from adversaria.sampling.folder import edit_folder

    sampler.edited_channels  # noqa: B018  # says what is wrong where the model edits nothing
    if config["images"] is None:
        raise UserError("this model edits pictures and draws none by itself; give some with images=FOLDER")
    for key in _OF_LATENTS:
        if config[key] is not None:
            raise UserError(
                f"{key}={shown(config[key])} is about drawn samples, and images=... are edited; leave it out"
            )
    images = Path(config["images"]).expanduser()
    spoilt = ["degraded", f"seed{config['seed']}"] if config["degrade"] else []
    parts = [f"{checkpoint.stem}{sampler.generator_updates}", sampler.weights, as_file_name(images.name, 60), *spoilt]
    out = Path(config["out"] or folder / "edited" / "_".join(parts)).expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    count = edit_folder(sampler, images, out, degrade=config["degrade"], seed=config["seed"])
    log.info("%d pictures edited by %s weights after %d updates", count, sampler.weights, sampler.generator_updates)
    log.info("%-10s %s", "edits", shown(out))
    log.info("%-10s %s", "run", shown(folder))
    return 0


def _count(config: Plain, latents: Latents | None) -> int:
    """How many samples, or paths, where nobody has said."""
    if latents is None:
        return _DEFAULT_COUNT
    return len(latents) if config["interpolate"] is None else max(1, len(latents) // 2)


def default_name(checkpoint: Path, sampler: Sampler, config: Plain, latents: Latents | None = None) -> str:
    """The name of a file that says all that its samples depend on, so that other samples have another one."""
    parts = [f"{checkpoint.stem}{sampler.generator_updates}", sampler.weights, f"seed{config['seed']}"]
    parts.append(str(config["count"]))
    if config["labels"] is not None:
        chosen = sampler.labels(config["labels"]) or []
        parts.append("labels-" + "-".join(sampler.class_name(label) or str(label) for label in chosen))
    for key in ("truncation", "standing", "interpolate", "traverse"):
        if config[key] is not None:
            parts.append(f"{key}-{config[key]}")
    if latents is not None:
        parts.append(f"latents-{latents.digest()}")
    name = "_".join(as_file_name(part, 60) for part in parts)
    exact = hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return name if name == "_".join(parts) and len(name) <= 120 else f"{name[:110]}_{exact}"


def _writer(spec: DataSpec, form: str | None) -> Writer:
    """The format that is called ``form``, or the first of the modality's.

    Raises:
        UserError: its samples cannot be written in that format.
    """
    writers = spec.modality.writers
    chosen = next(iter(writers)) if form is None else form
    if chosen not in writers:
        raise UserError(
            f"format={shown(chosen)} is none that this model's {spec.modality.noun} are written in"
            f"{near(chosen, writers)}; choices are {', '.join(writers)}"
        )
    return writers[chosen]


def check_room(writer: Writer, count: int, spec: DataSpec, out: Path) -> None:
    """Refuses what could not be written, before anything is drawn.

    Args:
        writer: the format.
        count: of the samples.
        spec: of them.
        out: the file or folder.

    Raises:
        UserError: the picture would be too large, or the disk has no room.
    """
    if writer.together:
        _check_picture(count, spec)
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    needed, free = count * spec.stored_sample.nbytes, shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"count={count} samples take up to {needed / 2**30:,.1f} GiB, and {shown(there)} has {free / 2**30:,.1f}"
            " GiB left; give a smaller count or another out"
        )


def _check_picture(count: int, spec: DataSpec) -> None:
    """Refuses more samples than a picture, or the memory at once, has room for."""
    if count * math.prod(spec.shape) > _LARGEST_PICTURE:
        others = [f"format={name}" for name, writer in spec.modality.writers.items() if not writer.together]
        raise UserError(
            f"count={count} samples of {'x'.join(map(str, spec.shape))} are too many for one picture; take "
            f"{' or '.join([*others, 'fewer'])}"
        )


def _drawn(sampler: Sampler, config: Plain, latents: Latents | None) -> Drawn:
    """What is to be drawn, as an iterator over blocks: nothing is drawn yet but pictures of a bounded size."""
    from adversaria.core.modality import Drawn

    options: dict[str, Any] = {key: config[key] for key in ("seed", "labels")}
    turns, spec, count = sampler.labels(config["labels"]), sampler.spec, config["count"]
    if latents is not None:
        latents = latents.labelled(None if config["labels"] is None else turns)
        turns = None if latents.labels is None else latents.labels.tolist()
    if config["traverse"] is not None or config["interpolate"] is not None:
        if config["traverse"] is not None:
            rows = sampler.traverse(config["traverse"], **options)
            samples, columns = rows.flatten(0, 1), rows.shape[1]
        else:
            columns = config["interpolate"]
            _check_picture(count * columns, spec)  # all of it is drawn at once
            samples = sampler.interpolate(count, columns, truncation=config["truncation"], given=latents, **options)
            turns = turns if latents is None or turns is None else [turns[2 * i % len(turns)] for i in range(count)]
        labels = None if turns is None else [turns[i // columns % len(turns)] for i in range(len(samples))]
        return Drawn(len(samples), [spec.modality.encode(samples)], labels, spec.class_names, columns)
    labels = None if turns is None else [turns[i % len(turns)] for i in range(count)] if count < 2**24 else turns
    across, captions = None, None
    if turns is not None and len(turns) <= min(count, _MOST_COLUMNS) and spec.class_names:
        across, captions = len(turns), [sampler.class_name(label) or str(label) for label in turns]
    return Drawn(count, _blocks(sampler, config, latents), labels, spec.class_names, across, captions)


def _blocks(sampler: Sampler, config: Plain, latents: Latents | None) -> Iterator[Tensor]:
    """The samples in their order, as they are stored, with a bar that shows how far they are."""
    from tqdm import tqdm

    options: dict[str, Any] = {key: config[key] for key in ("seed", "labels", "truncation")}
    draw = sampler.draw(given=latents, **options)
    count, size = config["count"], sampler.block_size(config["batch_size"])
    with tqdm(total=count, unit="sample", disable=None, leave=False) as bar:
        for start in range(0, count, size):
            block = draw(start, min(count, start + size)).samples.float().cpu()
            yield sampler.spec.modality.encode(block)
            bar.update(len(block))


def _check(config: Plain) -> None:
    """Raises UserError for values that have no meaning, before torch is imported."""
    check_fields("sample", config)
    for key in ("interpolate", "truncation", "latents"):
        if config["traverse"] is not None and config[key] is not None:
            raise UserError(
                f"traverse={shown(config['traverse'])} and {key}={shown(config[key])} are two pictures; choose one"
            )
