"""``python sample.py checkpoint=...``: pictures from a trained model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adversaria.cli import app
from adversaria.cli.utf8 import use_utf8
from adversaria.config import Plain, near
from adversaria.errors import UserError
from adversaria.fields import check_fields

if TYPE_CHECKING:
    from torch import Tensor

    from adversaria.api import Sampler
    from adversaria.types import DataSpec

log = logging.getLogger("adversaria")


def main() -> int:
    """The command; returns its exit code."""
    use_utf8()
    return app.run("sample", job)


def job(config: Plain) -> int:
    """Loads the sampler, draws, writes."""
    _check(config)
    from adversaria.api import load
    from adversaria.runs import find_checkpoint, results_folder

    checkpoint = find_checkpoint(config["checkpoint"])
    folder = results_folder(checkpoint)
    log.info("%-10s %s", "run", folder)
    sampler = load(checkpoint, raw=config["raw"], trust=config["trust"])
    write, suffix = WRITERS[config["format"]]
    if sampler.spec.modality != "image" and config["format"] == "png":
        raise UserError("format=png is for images, and this model makes points; take format=grid or format=npz")
    if config["standing"] is not None:
        sampler.use_standing_statistics(config["standing"], seed=config["seed"], truncation=config["truncation"])
    samples, columns = _draw(sampler, config)
    turns = sampler.labels(config["labels"])
    labels = None if turns is None else [turns[i // (columns or 1) % len(turns)] for i in range(len(samples))]

    name = f"{checkpoint.stem}_seed{config['seed']}_{len(samples)}{suffix}"
    out = Path(config["out"] or folder / "generated" / name).expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    write(Drawn(samples, labels, sampler.spec, columns), out)
    updates = sampler.generator_updates
    log.info("%d samples of %s weights after %d generator updates", len(samples), sampler.weights, updates)
    log.info("%-10s %s", "samples", out)
    log.info("%-10s %s", "run", folder)
    return 0


def _draw(sampler: Sampler, config: Plain) -> tuple[Tensor, int | None]:
    """Samples ``[N, *spec.shape]``, and how many make a row (None: they have no order)."""
    options: dict[str, Any] = {key: config[key] for key in ("seed", "labels")}
    if config["traverse"] is not None:
        rows = sampler.traverse(config["traverse"], **options)
        return rows.flatten(0, 1), rows.shape[1]
    options["truncation"] = config["truncation"]
    steps, count = config["interpolate"], config["count"]
    if steps is not None:
        return sampler.interpolate(count, steps, **options), steps
    return sampler.sample(count, batch_size=config["batch_size"], **options), None


def _check(config: Plain) -> None:
    """Raises UserError for values that have no meaning, before torch is imported."""
    check_fields("sample", config)
    if config["traverse"] is not None:
        for key in ("interpolate", "truncation"):
            if config[key] is not None:
                raise UserError(f"traverse={config['traverse']} and {key}={config[key]} are two pictures; choose one")
    if config["format"] not in WRITERS:
        hint = near(str(config["format"]), WRITERS)
        raise UserError(f"format={config['format']} does not exist{hint}; choices are {', '.join(WRITERS)}")


@dataclass(frozen=True)
class Drawn:
    """Samples ``[N, *spec.shape]``, their labels, and how many columns a grid of them has (None: as it comes)."""

    samples: Tensor
    labels: list[int] | None
    spec: DataSpec
    columns: int | None


def _write_grid(drawn: Drawn, out: Path) -> None:
    from adversaria.pictures import picture, save_picture

    save_picture(out, picture(drawn.samples, drawn.spec, drawn.columns))


def _write_png(drawn: Drawn, out: Path) -> None:
    from adversaria.pictures import save_picture

    digits = max(5, len(str(len(drawn.samples) - 1)))
    for i, image in enumerate(drawn.spec.to_uint8(drawn.samples)):
        label = "" if drawn.labels is None else f"_class{drawn.labels[i]}"
        save_picture(out / f"{i:0{digits}d}{label}.png", image)


def _write_npz(drawn: Drawn, out: Path) -> None:
    import numpy as np

    arrays = {"points": drawn.samples.numpy()}
    if drawn.spec.modality == "image":
        arrays = {"images": drawn.spec.to_uint8(drawn.samples).permute(0, 2, 3, 1).numpy()}
    if drawn.labels is not None:
        arrays["labels"] = np.asarray(drawn.labels, dtype=np.int64)
    with open(out, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


#: how samples are written, and how the default name of the file (or folder) ends
WRITERS: dict[str, tuple[Callable[[Drawn, Path], None], str]] = {
    "grid": (_write_grid, ".png"),
    "png": (_write_png, ""),
    "npz": (_write_npz, ".npz"),
}
