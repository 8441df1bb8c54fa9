"""Which recipes the speed table has, what they aim at, and how it looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tables import as_table

from adversaria.config.plain import conf_dir


@dataclass(frozen=True)
class Row:
    """A recipe.

    Attributes:
        name: of the row.
        overrides: of `train.py`.
        target: generator samples per second on one GPU of the H200's class; None: not set.
        ratio: how much faster than the plain loop it should be.
    """

    name: str
    overrides: tuple[str, ...]
    target: float | None = None
    ratio: float = 1.0


def _digits(channels: int) -> tuple[str, ...]:
    return ("data=digits", "data.size=32", f"data.channels={channels}")


def _experiments(pattern: str, channels: int) -> list[Row]:
    names = sorted(file.stem for file in (conf_dir() / "experiment").glob(pattern))
    return [Row(name, (f"experiment={name}", *_digits(channels))) for name in names]


def _model(name: str, target: float | None = None, ratio: float = 1.0, *more: str) -> Row:
    return Row(name, (f"model={name}", *_digits(3), "data.batch_size=64", *more), target, ratio)


def _published(name: str, target: float, ratio: float) -> Row:
    return Row(name, (f"experiment={name}", *_digits(3)), target, ratio)


_FIRST = [
    _published("sndcgan_cifar10", 20_000, 3),
    _published("sngan_cifar10", 3_000, 3),
    _model("stylegan2_cifar", 2_000, 2),
    _model("dcgan", 20_000, 3),
    _published("biggan_large_cifar10", 2_000, 2),
    _published("r3gan_cifar10", 700, 2),
]
ROWS = {
    "cpu": [_model("dcgan", ratio=1.6), _model("sndcgan", ratio=1.6), *_experiments("*_small.yaml", 1)],
    "cuda": [
        *_FIRST,
        *(row for row in _experiments("*_cifar10*.yaml", 3) if row.name not in {first.name for first in _FIRST}),
        *(_model(name) for name in ("cgan", "wgan", "infogan")),
    ],
}

_HEAD = (
    "recipe",
    "precision",
    "samples/s",
    "reals/s",
    "faster than plain (lowest..highest turn)",
    "utilisation",
    "memory, MiB",
    "first step, s",
    "bound by (matrix / memory / launches)",
)


def _settings(row: dict[str, Any]) -> str:
    compiled = {"true": ", compiled", "false": ", eager"}.get(row.get("compile", ""), "")
    precision: str = row.get("precision", row["trainer.precision"])
    return precision + compiled


def _cells(row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["name"], _settings(row), row["error"], *[""] * (len(_HEAD) - 3)]
    low, high = row["ratio_range"]
    aim = f" (target {row['target']:,.0f})" if row["target"] else ""
    return [
        row["name"],
        _settings(row),
        f"{row['samples_per_second']:,.0f}{aim}",
        f"{row['reals_per_second']:,.0f}",
        f"**{row['ratio']:.2f}x** ({low:.2f}..{high:.2f}), target {row['target_ratio']:g}x",
        f"{row['utilisation']:.1%}",
        f"{row['peak_memory_mib']:,.0f}",
        f"{row['seconds_to_first_step']:.1f}",
        row["bound_by"],
    ]


def _title(table: dict[str, Any]) -> str:
    ceilings = {
        row["precision"]: row["matrix_product_flops_per_second"] for row in table["rows"] if "utilisation" in row
    }
    products = "; ".join(f"{name}: {value / 1e12:.3g}" for name, value in ceilings.items())
    return f"{table['device']}, {table['threads']} threads, torch {table['torch']}" + (
        f"; matrix products in TFLOP/s: {products}" if products else ""
    )


def as_markdown(table: dict[str, Any]) -> str:
    """The speed table."""
    return f"{_title(table)}\n\n" + as_table(_HEAD, [_cells(row) for row in table["rows"]])


def variants_as_markdown(table: dict[str, Any]) -> str:
    """Each means of speed as a row, a column for each recipe."""
    columns = [row for row in table["rows"] if "ratios" in row]
    failed = [f"\n{row['name']}: {row['error']}" for row in table["rows"] if "error" in row]
    names = dict.fromkeys(name for row in columns for name in row["ratios"])
    head = ["means of speed", *(f"{row['name']}, {_settings(row)}" for row in columns)]
    rows = [[name, *(f"{row['ratios'].get(name, math.nan):.2f}x" for row in columns)] for name in names]
    return f"{_title(table)}\n\n" + as_table(head, rows).replace("nanx", "") + "".join(failed)
