"""``python sample.py checkpoint=...``: pictures from a trained model."""

from __future__ import annotations

import hashlib
import logging
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

    from adversaria.cli.writers import Drawn
    from adversaria.sampling.sampler import Sampler

log = logging.getLogger("adversaria")

_FORMATS = ("grid", "png", "npz")
#: a grid has a column for each class if there are no more
_MOST_COLUMNS = 12


def main() -> int:
    """The command; returns its exit code."""
    return app.run("sample", job)


def job(config: Plain) -> int:
    """Loads the sampler, draws, writes."""
    _check(config)
    from adversaria.cli.writers import WRITERS, check_room
    from adversaria.runs.folder import find_checkpoint, results_folder
    from adversaria.sampling.sampler import load

    checkpoint = find_checkpoint(config["checkpoint"])
    folder = results_folder(checkpoint)
    log.info("%-10s %s", "run", shown(folder))
    sampler = load(checkpoint, raw=config["raw"], trust=config["trust"])
    if config["standing"] is not None:
        sampler.use_standing_statistics(config["standing"], seed=config["seed"], truncation=config["truncation"])
    writer = WRITERS[config["format"]]
    name = f"{default_name(checkpoint, sampler, config)}{writer.suffix}"
    out = Path(config["out"] or folder / "generated" / name).expanduser()
    drawn = _drawn(sampler, config, out)
    check_room(config["format"], drawn.count, drawn.spec, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    writer.write(drawn, out)
    updates = sampler.generator_updates
    log.info("%d samples of %s weights after %d generator updates", drawn.count, sampler.weights, updates)
    if config["labels"] is not None:
        log.info("%-10s %s", "labels", ", ".join(map(sampler.described, sampler.labels(config["labels"]) or ())))
    log.info("%-10s %s", "samples", shown(out))
    log.info("%-10s %s", "run", shown(folder))
    return 0


def default_name(checkpoint: Path, sampler: Sampler, config: Plain) -> str:
    """The name of a file that says all that its samples depend on, so that other samples have another one."""
    parts = [f"{checkpoint.stem}{sampler.generator_updates}", sampler.weights, f"seed{config['seed']}"]
    parts.append(str(config["count"]))
    if config["labels"] is not None:
        chosen = sampler.labels(config["labels"]) or []
        parts.append("labels-" + "-".join(sampler.class_name(label) or str(label) for label in chosen))
    for key in ("truncation", "standing", "interpolate", "traverse"):
        if config[key] is not None:
            parts.append(f"{key}-{config[key]}")
    name = "_".join(as_file_name(part, 60) for part in parts)
    exact = hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return name if name == "_".join(parts) and len(name) <= 120 else f"{name[:110]}_{exact}"


def _drawn(sampler: Sampler, config: Plain, out: Path) -> Drawn:
    """What is to be drawn, as an iterator over blocks: nothing is drawn yet but pictures of a bounded size."""
    from adversaria.cli.writers import Drawn, check_room

    options: dict[str, Any] = {key: config[key] for key in ("seed", "labels")}
    turns, spec, count = sampler.labels(config["labels"]), sampler.spec, config["count"]
    if config["traverse"] is not None or config["interpolate"] is not None:
        if config["traverse"] is not None:
            rows = sampler.traverse(config["traverse"], **options)
            samples, columns = rows.flatten(0, 1), rows.shape[1]
        else:
            columns = config["interpolate"]
            check_room("grid", count * columns, spec, out)  # all of it is drawn at once
            samples = sampler.interpolate(count, columns, truncation=config["truncation"], **options)
        labels = None if turns is None else [turns[i // columns % len(turns)] for i in range(len(samples))]
        return Drawn(len(samples), iter([samples]), labels, spec, columns)
    labels = None if turns is None else [turns[i % len(turns)] for i in range(count)] if count < 2**24 else turns
    across, captions = None, None
    if turns is not None and len(turns) <= min(count, _MOST_COLUMNS) and spec.class_names:
        across, captions = len(turns), [sampler.class_name(label) or str(label) for label in turns]
    return Drawn(count, _blocks(sampler, config), labels, spec, across, captions)


def _blocks(sampler: Sampler, config: Plain) -> Iterator[Tensor]:
    """The samples in their order, with a bar that shows how far they are."""
    from tqdm import tqdm

    draw = sampler.draw(seed=config["seed"], labels=config["labels"], truncation=config["truncation"])
    count, size = config["count"], sampler.block_size(config["batch_size"])
    with tqdm(total=count, unit="sample", disable=None, leave=False) as bar:
        for start in range(0, count, size):
            block = draw(start, min(count, start + size)).samples.float().cpu()
            yield block
            bar.update(len(block))


def _check(config: Plain) -> None:
    """Raises UserError for values that have no meaning, before torch is imported."""
    check_fields("sample", config)
    for key in ("interpolate", "truncation"):
        if config["traverse"] is not None and config[key] is not None:
            raise UserError(
                f"traverse={shown(config['traverse'])} and {key}={config[key]} are two pictures; choose one"
            )
    if config["format"] not in _FORMATS:
        hint = near(config["format"], _FORMATS)
        raise UserError(f"format={shown(config['format'])} does not exist{hint}; choices are {', '.join(_FORMATS)}")
