"""Whether two checkouts compute the same: both train, sample and score short runs, which are compared bit for bit.

    python benchmarks/equal.py OLD NEW [--only dcgan mlp]

OLD and NEW are source trees, as ``git worktree add`` makes them. Each works in a process of its own, on one thread,
with its own package, configs and cache (`equal_runs.py`). Compared are all weights and buffers, their averages, the
optimizers' state, every logged number and finding, samples and pictures, and the scores of ``evaluate.py`` with their
fingerprints. Then NEW goes on from OLD's half-way checkpoint, and must end where OLD ended. Times are left out. Tensors
whose names differ are compared in their order, and count as equal if shapes and bits are: the table marks them as
renamed. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from equal_runs import RECIPES
from tables import as_table
from torch import Tensor
from tqdm import tqdm

#: columns of ``metrics.csv`` that are times
TIMES = ("seconds", "throughput/")
#: differing values that are named, of each cell of the table
NAMED = 3


@dataclass
class Comparison:
    """Of one cell of the table.

    Attributes:
        count: values compared.
        differing: a line for each that differs.
        renamed: how many have another name.
    """

    count: int = 0
    differing: list[str] = field(default_factory=list)
    renamed: int = 0

    def __str__(self) -> str:
        if self.differing:
            return f"**{len(self.differing)} of {self.count} differ**"
        return "" if not self.count else f"equal ({self.renamed} renamed)" if self.renamed else "equal"


def compared(old: Any, new: Any) -> Comparison:
    """Compares what two nested containers hold, by name, and what has no namesake in order."""
    left, right = dict(leaves(old)), dict(leaves(new))
    pairs = [(name, left.pop(name), right.pop(name)) for name in list(left) if name in right]
    result = Comparison(len(pairs) + max(len(left), len(right)))
    if len(left) == len(right) and all(map(alike, left.values(), right.values())):
        result.renamed = len(left)
        pairs += [(f"{a} (now {b})", left[a], right[b]) for a, b in zip(left, right, strict=True)]
    else:
        result.differing += [f"{name} is in the old one alone" for name in left]
        result.differing += [f"{name} is in the new one alone" for name in right]
    result.differing += [f"{name}: {difference(a, b)}" for name, a, b in pairs if difference(a, b)]
    return result


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values within containers, each by its path."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        yield name, value
        return
    for key, item in items:
        yield from leaves(item, f"{name}/{key}" if name else str(key))


def alike(old: Any, new: Any) -> bool:
    """Whether two values that have different names could be one: tensors of one shape."""
    return isinstance(old, Tensor) and isinstance(new, Tensor) and old.shape == new.shape


def difference(old: Any, new: Any) -> str:
    """In words; empty if all bits are equal."""
    if not (isinstance(old, Tensor) and isinstance(new, Tensor)):
        return "" if repr(old) == repr(new) else f"{old!r} and {new!r}"  # repr: NaN is equal to itself, 1 is not 1.0
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{old.dtype} {tuple(old.shape)} and {new.dtype} {tuple(new.shape)}"
    if torch.equal(*(value.contiguous().reshape(-1).view(torch.uint8) for value in (old, new))):
        return ""
    return f"by up to {(old.double() - new.double()).abs().max():.3g}"


def checkpoint(part: str, run: Path) -> Any:
    """A part of the last checkpoint of ``run``."""
    return torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True).get(part)


def logged(run: Path) -> Any:
    """The rows of ``metrics.csv`` without times, and what the run's end says of health."""
    with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in csv.DictReader(file)]
    result = json.loads((run / "result.json").read_text("utf-8"))
    return {"row": rows, "findings": result["findings"], "rollbacks": result["rollbacks"]}


def drawn(run: Path) -> Any:
    """Digests of the pictures, and the samples that were drawn afterwards."""
    pictures = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(run.glob("samples/*.png"))}
    samples = run.parent / "samples.npy"
    return {**pictures, "samples": torch.from_numpy(np.load(samples))}


def scores(run: Path) -> Any:
    """Of ``evaluate.py``, without the paths."""
    file = run.parent / "evaluation.json"
    records = json.loads(file.read_text("utf-8"))["records"] if file.exists() else []
    return [{key: value for key, value in record.items() if key != "checkpoint"} for record in records]


PARTS: dict[str, Callable[[Path], Any]] = {
    "weights": lambda run: checkpoint("state_dict", run),
    "averages": lambda run: checkpoint("ema", run),
    "optimizers": lambda run: [checkpoint(part, run) for part in ("optimizer_states", "lr_schedulers")],
    "log": logged,
    "samples": drawn,
    "scores": scores,
}


def compare(old: Path, new: Path) -> dict[str, Comparison]:
    """The cells of a recipe's row."""
    failed = failure(old / "error.txt") or failure(new / "error.txt")
    if failed:
        return {"weights": failed}
    row = {name: compared(part(old / "run"), part(new / "run")) for name, part in PARTS.items()}
    return {**row, "goes on": failure(new / "error_going_on.txt") or went_on(old / "run", new / "gone_on")}


def failure(file: Path) -> Comparison | None:
    """What the error in ``file`` makes of a cell; None where there is none."""
    return Comparison(1, [f"{file.parent}\n{file.read_text('utf-8')}"]) if file.exists() else None


def went_on(old: Path, new: Path) -> Comparison:
    """Of the ends of two runs, the second of which was interrupted: all that training makes."""
    result = Comparison()
    for name in ("weights", "averages", "optimizers", "log"):
        part = compared(PARTS[name](old), PARTS[name](new))
        result.count += part.count
        result.differing += part.differing
        result.renamed += part.renamed
    return result


def work(tree: Path, folder: Path, only: Sequence[str], *more: str) -> Iterator[str]:
    """Runs the recipes with the package of ``tree``; yields the name of each when it is done."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree.resolve() / "src"),
        "ADVERSARIA_CACHE": str(folder.parent / f"{folder.name}_cache"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    script = Path(__file__).resolve().with_name("equal_runs.py")
    command = [sys.executable, str(script), str(folder), "--only", *only, *more]
    said = folder.parent / f"{folder.name}.log"
    with (
        open(said, "w", encoding="utf-8") as errors,
        subprocess.Popen(
            command, cwd=folder.parent, env=environment, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8"
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("done "):
                yield line.removeprefix("done ").strip()
    if process.returncode:
        raise SystemExit(f"{tree}: {said.read_text('utf-8')[-3000:]}")


def main() -> int:
    """Compares and prints a table in Markdown and what differs; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a source tree")
    parser.add_argument("new", type=Path, help="another; or the same, to see that it computes the same twice")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="RECIPE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, tqdm(total=2 * len(options.only), unit="recipe") as bar:
        old, new = Path(temporary) / "old", Path(temporary) / "new"
        for tree, folder, more in ((options.old, old, ()), (options.new, new, ("--old", str(old)))):
            for name in work(tree, folder, options.only, *more):
                bar.set_postfix_str(f"{folder.name}: {name}")
                bar.update()
        found = {name: compare(old / name, new / name) for name in options.only}
    columns = [*PARTS, "goes on"]
    print(
        as_table(("recipe", *columns), [(name, *(str(row.get(c, "")) for c in columns)) for name, row in found.items()])
    )
    cells = [(f"{name}, {column}", cell) for name, row in found.items() for column, cell in row.items()]
    for place, cell in cells:
        for line in cell.differing[:NAMED]:
            print(f"\n{place}: {line}")
    return int(any(cell.differing for _, cell in cells))


if __name__ == "__main__":
    sys.exit(main())
