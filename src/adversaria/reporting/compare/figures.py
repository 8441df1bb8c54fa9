"""Learning curves and samples side by side: drawn once, for the page and for print."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from adversaria.core.files import replacing, subfolder
from adversaria.reporting.compare.runs import RunRecord
from adversaria.reporting.compare.sections import Configuration, Section

#: of Wong 2011 ("Points of view: Color blindness"), without black and yellow, which dark and light pages swallow
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: as many as give 42 different pairs with the colours; beside each what looks like it in a text
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("*", "★"))
#: becomes ``currentColor`` on the page, so that axes and words follow its theme
INK = "#1b1b1e"
#: pixels of a grid of samples, at most
_WIDTH = 800
_CELLS = 6
_MOST_PIXELS = 50_000_000

Axis = Literal["images seen", "seconds of training"]
AXES: tuple[Axis, ...] = ("images seen", "seconds of training")


class Curve(NamedTuple):
    """The monitored score of a configuration's finished runs, at the steps that all of them have.

    Attributes:
        x: by axis, the mean over runs, ``[K]``.
        mean, low, high: over runs, each ``[K]``.
    """

    x: dict[Axis, np.ndarray[Any, Any]]
    mean: np.ndarray[Any, Any]
    low: np.ndarray[Any, Any]
    high: np.ndarray[Any, Any]


def look(index: int) -> tuple[str, str, str]:
    """Colour, marker and the sign that looks like it, of configuration ``index``."""
    return (COLORS[index % len(COLORS)], *MARKERS[index % len(MARKERS)])


def curve_of(runs: Sequence[RunRecord], score: str) -> Curve | None:
    """None if there is no step that all ``runs`` have the score for."""
    curves = [{step: rest for step, *rest in run.curve(score)} for run in runs]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    if not steps:
        return None
    images, seconds, values = np.array([[curve[step] for step in steps] for curve in curves]).transpose(2, 0, 1)
    x: dict[Axis, np.ndarray[Any, Any]] = {"images seen": images.mean(0), "seconds of training": seconds.mean(0)}
    return Curve(x, values.mean(0), values.min(0), values.max(0))


def curves_svg(section: Section, axis: Axis) -> str:
    """The learning curves as an ``<svg>`` element in the colours of the page around it; empty if there are none."""
    with style(section.letter + axis):
        figure, (axes,) = make_figure(1, (4.4, 3.0))
        return to_svg(figure, f"Learning curves over {axis}") if _draw_curves(axes, section, axis) else ""


def to_svg(figure: Any, label: str) -> str:
    """``figure``, drawn inside of `style`, as an ``<svg>`` element in the colours of the page around it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # The label may be a column of a file from anywhere.
    tag = f'<svg role="img" aria-label="{html.escape(label)}" '
    return re.sub(r'<svg ([^>]*?)width="[^"]+"', lambda match: tag + match[1], svg, count=1)


def save_curves(section: Section, folder: Path) -> Path | None:
    """``curves.pdf`` and ``.png``, with a legend; the path of the latter, None if there are no curves."""
    with style(section.letter):
        figure, both = make_figure(2, (9.0, 3.6 + 0.2 * len(section.configurations)))
        drawn = [_draw_curves(axes, section, axis) for axes, axis in zip(both, AXES, strict=True)]
        if not all(drawn):
            return None
        handles = [_handle(i) for i in range(len(section.configurations))]
        names = [c.name for c in section.configurations]
        figure.legend(handles, names, loc="outside lower left", frameon=False, ncols=1)
        return _save(figure, folder / f"curves{_suffix(section)}")


def save_samples(section: Section, folder: Path) -> Path | None:
    """``samples.pdf`` and ``.png``: reals and one grid for each configuration; None if there are none."""
    tiles = sample_tiles(section)
    if not tiles:
        return None
    columns = min(4, len(tiles))
    with style(section.letter):
        from matplotlib.figure import Figure

        rows = -(-len(tiles) // columns)
        figure = Figure(figsize=(2.4 * columns, 2.8 * rows), layout="constrained")
        places = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in places:
            axes.set_axis_off()
        for axes, (name, image) in zip(places, tiles, strict=False):
            axes.imshow(image, interpolation="nearest")
            axes.set_title(name.replace(", ", ",\n"), fontsize=7, wrap=True)
        return _save(figure, folder / f"samples{_suffix(section)}")


def sample_tiles(section: Section) -> list[tuple[str, Image.Image]]:
    """Captions and pictures: reals first, then each configuration that has samples."""
    reals = next((run for run in section.runs if run.reals), None)
    found = [("training data", crop(reals.reals, reals.config))] if reals and reals.reals else []
    for configuration in section.configurations:
        if run := _shown_run(configuration):
            how = "" if run.finished else f", {run.status}"
            found.append((f"{configuration.name}, seed {run.seed}{how}", crop(run.pictures[-1], run.config)))
    return [(caption, image) for caption, image in found if image is not None]


def crop(path: Path, config: dict[str, Any]) -> Image.Image | None:
    """The first six rows and columns of a grid (`adversaria.modalities.pictures`), or all of a picture that is no grid;
    None of a file that is damaged, or larger than any grid.
    """
    try:
        with Image.open(path, formats=["PNG"]) as file:
            image = file.convert("RGB") if file.width * file.height <= _MOST_PIXELS else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None
    if image is None:
        return None
    size = config.get("data.size")
    if isinstance(size, int) and size > 0:
        cell = size * max(1, -(-64 // size)) + 2  # enlarged to 64 pixels at least, two between them
        if (image.width - 2) % cell == 0 and (image.height - 2) % cell == 0:
            image = image.crop((0, 0, min(image.width, _CELLS * cell + 2), min(image.height, _CELLS * cell + 2)))
    if image.width > _WIDTH:
        image = image.resize((_WIDTH, round(image.height * _WIDTH / image.width)), Image.Resampling.LANCZOS)
    return image


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _shown_run(configuration: Configuration) -> RunRecord | None:
    """The finished run of the smallest seed, else any that has samples."""
    return next((run for run in (*configuration.finished, *configuration.runs) if run.pictures), None)


def _draw_curves(axes: Any, section: Section, axis: Axis) -> bool:
    """Mean and range of finished runs; others as dashed lines that end in a cross. Whether anything was drawn."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter

    monitor, drawn = section.monitor, []
    for i, configuration in enumerate(section.configurations if monitor else ()):
        color, marker, _ = look(i)
        if curve := curve_of(configuration.finished, monitor or ""):
            x = curve.x[axis]
            every = max(1, len(x) // 8)
            axes.plot(x, curve.mean, color=color, marker=marker, markevery=every, markersize=4.5, linewidth=1.6)
            axes.fill_between(x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
            drawn += [*curve.low, *curve.high]
        for run in configuration.runs:
            points = [] if run.finished else run.curve(monitor or "")
            if points:
                along = [point[1 + AXES.index(axis)] for point in points]
                axes.plot(along, [point[3] for point in points], color=color, linestyle="--", linewidth=1)
                axes.plot(along[-1], points[-1][3], color=color, marker="x", markersize=7, linestyle="none")
                drawn += [point[3] for point in points]
    drawn = [value for value in drawn if np.isfinite(value)]
    if not drawn:
        return False
    if min(drawn) > 0 and max(drawn) > 20 * min(drawn):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if axis == "images seen":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set(xlabel=axis, ylabel=monitor)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return True


def _handle(index: int) -> Any:
    from matplotlib.lines import Line2D

    color, marker, _ = look(index)
    return Line2D([], [], color=color, marker=marker, markersize=4.5, linewidth=1.6)


def make_figure(columns: int, size: tuple[float, float]) -> tuple[Any, Sequence[Any]]:
    """A figure of ``size`` inches and its axes, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False).flat)


def _save(figure: Any, stem: Path) -> Path:
    subfolder(stem.parent.parent, stem.parent.name)
    kinds: dict[str, dict[str, Any]] = {".pdf": {"metadata": {"CreationDate": None}}, ".png": {"dpi": 160}}
    for suffix, options in kinds.items():
        with replacing(stem.with_suffix(suffix)) as file:
            figure.savefig(file, format=suffix[1:], **options)
    return stem.with_suffix(".png")


def _suffix(section: Section) -> str:
    return f"_{section.letter}" if section.letter else ""


@contextmanager
def style(salt: str) -> Iterator[None]:
    """Names are text, not formulas; words of an SVG stay words; equal reports are equal files."""
    import matplotlib

    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    settings = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9}
    with matplotlib.rc_context({**settings, **dict.fromkeys(ink, INK)}):
        yield
