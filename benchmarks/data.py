"""How many images a second reading gives, and how many a training step wants.

    python benchmarks/data.py [--json FILE] [--small]

Crops of scikit-learn's two photographs, saved as JPEG of quality 90, are read in the random order of training: from
the memory map of the cache (`data.storage=disk`) and by decoding the files each time (`data.storage=files`), with 0, 1
and 2 workers. The demand is what `model=dcgan` consumes at that size on this machine when its data lie in memory. All
readings take turns, several rounds of them; printed are medians. The map is warm (in memory) unless ``--cold`` drops it
before every reading, as if it were larger than memory (Linux only; needs ``--count`` of more images than are read).
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from tables import as_table
from turns import Ends, config_of, fit

from adversaria.core.types import Batch
from adversaria.data.images.folder import ImageFolder
from adversaria.data.mapped import place_of
from adversaria.data.module import DataModule
from adversaria.training.experiment import build_experiment

WORKERS = (0, 1, 2)
READERS = {"disk": "memory map", "files": "decoding JPEG"}


def draw_crops(folder: Path, size: int, count: int) -> None:
    """Writes ``count`` JPEGs of ``size`` pixels a side."""
    photographs = load_sample_images().images
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        top, left = (rng.integers(0, side - size + 1) for side in photograph.shape[:2])
        crop = Image.fromarray(photograph[top : top + size, left : left + size])
        crop.save(folder / f"{number:06}.jpg", quality=90)


def open_images(root: Path, size: int, storage: Any, workers: int, batch: int, cache: Path) -> ImageFolder:
    """The images, read in this way."""
    data = ImageFolder(
        name="crops",
        root=str(root),
        size=size,
        channels=3,
        fit="crop",
        mirror=False,
        batch_size=batch,
        storage=storage,
        num_workers=workers,
        cache_dir=str(cache),
        limit=None,
        seed=0,
    )
    data.prepare()
    return data


def throughput(batches: Iterator[Batch], images: int) -> float:
    """Images a second of the next ``images``; the batches before are read already or on their way."""
    start = time.perf_counter()
    seen = 0
    while seen < images:
        seen += len(next(batches).samples)
    return seen / (time.perf_counter() - start)


def drop_map(data: DataModule) -> None:
    """Makes the system forget the memory map's pages."""
    place = place_of(data.split("train").samples)
    if place is None:
        return
    descriptor = os.open(place.path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def demand(root: Path, size: int, batch: int, steps: int, cache: Path) -> float:
    """Reals a second that dcgan trains on; the first step warms up."""
    config = config_of(
        "model=dcgan", "data=image_folder", f"data.root={root}", f"data.size={size}", f"data.batch_size={batch}",
        f"data.cache_dir={cache}", "data.channels=3", "data.storage=memory", "logger=none",
        f"trainer.max_steps={steps + 1}",
    )  # fmt: skip
    experiment, steps_ended = build_experiment(config), Ends()
    fit(experiment, steps_ended)
    seconds = statistics.median(after - before for before, after in itertools.pairwise(steps_ended.ends[: steps + 1]))
    return batch * int(experiment.system.batches_per_step) / seconds


def measure(size: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row: images a second by reader and workers, and the demand."""
    root, cache = folder / f"crops{size}", folder / "cache"
    draw_crops(root, size, options.count)
    rates: dict[tuple[str, int], list[float]] = {(reader, n): [] for reader in READERS for n in WORKERS}
    for _ in range(options.rounds):
        for (reader, workers), found in rates.items():
            data = open_images(root, size, reader, workers, options.batch, cache)
            if options.cold:
                drop_map(data)
            batches = iter(data.loader(0, 0, 1, options.batch, torch.device("cpu")))
            next(batches)  # workers start
            found.append(throughput(batches, options.images if reader == "disk" else options.images // 4))
            del batches  # and stop
    return {
        "size": size,
        "demand": demand(root, size, options.batch, options.steps, cache) if options.steps else None,
        **{
            reader: {str(n): statistics.median(rates[reader, n]) for n in WORKERS} for reader in READERS
        },
    }  # fmt: skip


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table."""
    head = ["size", "a dcgan step wants", *(f"{READERS[reader]}, {n} workers" for reader in READERS for n in WORKERS)]
    rates = [[row["demand"], *(row[reader][str(n)] for reader in READERS for n in WORKERS)] for row in rows]
    return as_table(head, [[str(row["size"]), *map(_figure, of_row)] for row, of_row in zip(rows, rates, strict=True)])


def _figure(rate: float | None) -> str:
    if rate is None:
        return "–"
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256], help="sides in pixels")
    parser.add_argument("--count", type=int, default=2000, help="files (default 2000)")
    parser.add_argument("--images", type=int, default=8000, help="read from the map in a turn, a quarter as JPEG")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default 64)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each reader (default 3)")
    parser.add_argument("--steps", type=int, default=5, help="training steps that count (default 5; 0: no demand)")
    parser.add_argument("--cold", action="store_true", help="drop the map from memory before each reading")
    parser.add_argument("--small", action="store_true", help="a try of seconds, whose figures mean little")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    if options.small:
        options.sizes, options.count, options.images = [64], 200, 512
        options.batch, options.rounds, options.steps = 16, 1, 2
    logging.getLogger("adversaria").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for size in options.sizes:
            rows.append(measure(size, options, Path(folder)))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)  # a long run that is cut off was not in vain
    map_state = "cold" if options.cold else "warm"
    print(f"images/s, batch {options.batch}, {torch.get_num_threads()} threads, map {map_state}\n")
    print(as_markdown(rows))
    if options.json:
        about = {"batch": options.batch, "threads": torch.get_num_threads(), "map": map_state}
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
