"""A run's columns as pictures: what is now as solid lines, what was given up pale and dashed, alarms upright."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from adversaria.reporting.compare.figures import COLORS, INK, make_figure, style, to_svg
from adversaria.reporting.doctor.history import History, Segment
from adversaria.reporting.doctor.panels import HeatMap, Lines

_SIZE = (4.6, 2.9)
#: red on white and on black alike, and no colour of a curve
ALARM = "#C8102E"
_QUIET = "#8a8d94"
#: names of layers have place for so many letters
_LETTERS, _TICKS = 18, 16
#: points from one row of names above the axes to the next
_ROW = 9
#: times the median that makes an axis logarithmic
_DWARFS = 100
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(history: History, panel: Lines | HeatMap) -> list[str]:
    """``<svg>`` elements for ``panel``; none if the run has nothing to show there."""
    if isinstance(panel, HeatMap):
        svg = _heat_map(history, panel)
        return [svg] if svg else []
    columns = _columns(history, panel.columns)
    if not columns:
        return []
    groups = [{name: label} for name, label in columns.items()] if panel.each else [columns]
    return [svg for group in groups if (svg := _lines(history, panel, group))]


def _columns(history: History, wanted: Mapping[str, str]) -> dict[str, str]:
    """Labels of the columns that are there and finite somewhere; the monitored score first."""
    there = {
        name: None
        for segment in history.segments
        for row in segment.own_rows
        for name, value in row.items()
        if math.isfinite(value)
    }
    found: dict[str, str] = {}
    for name, label in wanted.items():
        prefix = name.removesuffix("*")
        if prefix != name:
            found |= {column: column.removeprefix(prefix) for column in there if column.startswith(prefix)}
        elif name in there:
            found[name] = label
    best = f"score/{_best(history).get('name')}"
    return dict(sorted(found.items(), key=lambda item: item[0] != best))


def _best(history: History) -> dict[str, Any]:
    """Name, value and step of the best score; empty if there is none."""
    best = history.result.get("best")
    return best if isinstance(best, dict) else {}


def series(rows: Iterable[Mapping[str, float]], name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Steps and values of a column, each ``[K]``, where it is logged; what is not finite is NaN."""
    points = np.array([(row["step"], row[name]) for row in rows if name in row], dtype=float).reshape(-1, 2)
    values = np.where(np.isfinite(points[:, 1]), points[:, 1], np.nan)
    return points[:, 0], values


def _lines(history: History, panel: Lines, columns: Mapping[str, str]) -> str:
    title = panel.title if not panel.each else f"{panel.title} {next(iter(columns.values()))}"
    with style(title):
        figure, (axes,) = make_figure(1, _SIZE)
        figure.set_layout_engine(None)  # placed by hand, which halves the time
        for k, (name, label) in enumerate(columns.items()):
            _line(axes, history, panel, (name, "" if panel.each else label), k)
        shown = _levels(axes, history, panel)
        _scale(axes, panel)
        best = _best(history)
        if panel.each and f"score/{best.get('name')}" in columns and isinstance(best.get("value"), int | float):
            axes.plot(
                best["step"], best["value"], "*", color=COLORS[4], markersize=13, label=f"best, {best['value']:.4g}"
            )
            shown = True
        pale = any(name in row for segment in history.given_up for row in segment.own_rows for name in columns)
        if pale:
            axes.plot([], [], "--", color=_QUIET, label="given up")
        words = 0
        if len(columns) > 1 or shown or pale:
            legend = figure.legend(
                loc="lower center", ncols=3, frameon=False, fontsize=8, handlelength=1.8, borderpad=0
            )
            words = -(-len(legend.get_texts()) // 3)
        alarms = _finish(axes, history, title)
        bottom, top = 0.45 + 0.18 * words, 0.27 + _ROW / 72 * alarms
        figure.subplots_adjust(left=0.13, right=0.985, bottom=bottom / _SIZE[1], top=1 - top / _SIZE[1])
        return to_svg(figure, title)


def _line(axes: Any, history: History, panel: Lines, column: tuple[str, str], number: int) -> None:
    """A column and its label: of what was given up first, so that what is lies above it."""
    (name, label), color = column, COLORS[number % len(COLORS)]
    for segment in history.segments:
        x, y = series(segment.own_rows, name)
        y = np.maximum(y, panel.floor) if panel.log else y  # NaN stays
        kept = segment.rollback is None
        marker = "o" if kept and len(x) <= 30 else None
        how: dict[str, Any] = {"linewidth": 1.3 if number else 2, "marker": marker, "markersize": 2.5}
        if not kept:
            how = {"linewidth": 1, "linestyle": "--", "alpha": 0.5}
        axes.plot(x, y, color=color, label=(label or None) if kept else None, **how)
        if kept and name in panel.bands:
            steps, width = series(segment.own_rows, panel.bands[name])
            if np.array_equal(steps, x):
                axes.fill_between(x, y - width, y + width, color=color, alpha=0.18, linewidth=0)


def _levels(axes: Any, history: History, panel: Lines) -> bool:
    """Thresholds of the detectors and the value to compare with, as horizontal lines; whether there are any."""
    thresholds: dict[float, None] = {}
    for kind, argument in panel.limits:
        found = (d for d in history.now.examination.detectors.values() if isinstance(d, kind))
        thresholds |= {float(asdict(detector)[argument]): None for detector in found}
    for value in thresholds:
        axes.axhline(value, color=ALARM, linewidth=1, linestyle="-.", label=f"alarm at {power(value)}")
    if panel.level is not None:
        value, label = panel.level
        axes.axhline(value, color=_QUIET, linewidth=0.9, linestyle=":", label=label)
    return bool(thresholds) or panel.level is not None


def _scale(axes: Any, panel: Lines) -> None:
    """A logarithmic axis where it is wanted, and on both sides of 0 where a few values dwarf the usual ones."""
    from matplotlib.ticker import NullLocator, SymmetricalLogLocator

    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()] or [np.zeros(1)])
    drawn = np.abs(drawn[np.isfinite(drawn)])
    usual = float(np.median(drawn)) if drawn.size else 0.0
    if panel.log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        ticks_of(axes.yaxis, low, high)
    elif panel.view is not None:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, panel.view[0]), min(high, panel.view[1]))
    elif usual and drawn.max() > _DWARFS * usual:
        linear = 10 ** math.ceil(math.log10(usual))
        axes.set_yscale("symlog", linthresh=linear)
        locator = SymmetricalLogLocator(base=10, linthresh=linear)
        locator.set_params(numticks=8)
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_major_formatter(lambda value, _: power(value))
        axes.yaxis.set_minor_locator(NullLocator())


def ticks_of(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic ``axis`` from ``low`` to ``high``: powers of ten, and between few of them 2 and 5."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,), numticks=8))
    axis.set_major_formatter(lambda value, _: power(value))
    axis.set_minor_locator(NullLocator())  # they take longer to draw than all else


def power(value: float) -> str:
    """A number beside a logarithmic axis: ``0.05``, ``200``, ``10⁷``, ``2·10⁻⁵``."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:g}".replace("-", "−")
    mantissa, exponent = f"{value:.3e}".split("e")
    times = {"1.000": "", "-1.000": "−"}.get(mantissa, f"{float(mantissa):g}·".replace("-", "−"))
    return f"{times}10{str(int(exponent)).translate(_RAISED)}"


def _heat_map(history: History, panel: HeatMap) -> str:
    from matplotlib.colors import LogNorm

    rows = history.now.rows
    names = sorted({name for row in rows for name in row if name.startswith(panel.prefix)})
    rows = tuple(row for row in rows if any(name in row for name in names))
    values = np.array([[row.get(name, math.nan) for row in rows] for name in names], dtype=float)
    shown = values[np.isfinite(values) & (values > 0)]
    if not shown.size or len(rows) < 2:
        return ""
    high = shown.max()
    low = max(float(np.quantile(shown, 0.01)), high * 1e-30)
    with style(panel.title):
        figure, (axes,) = make_figure(1, (_SIZE[0], max(_SIZE[1], 1.6 + 0.13 * min(len(names), 2 * _TICKS))))
        values = np.where(np.isfinite(values), np.maximum(values, low), np.nan)
        high = high if high > low else 10 * low
        steps = [row["step"] for row in rows]
        mesh = axes.pcolormesh(
            steps, range(len(names)), values, norm=LogNorm(low, high), cmap="viridis", shading="nearest"
        )
        mesh.set_rasterized(True)
        axes.invert_yaxis()
        every = -(-len(names) // _TICKS)
        axes.set_yticks(range(0, len(names), every), [_layer(name) for name in names[::every]], fontsize=7)
        bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=25)
        ticks_of(bar.ax.yaxis, low, high)
        bar.ax.tick_params(labelsize=7, which="both")
        _finish(axes, history, panel.title, halo=True)
        return to_svg(figure, panel.title)


def _layer(column: str) -> str:
    """The name of a layer without its number, and of a long one its end."""
    name = column.rsplit("/", 1)[-1].split("_", 1)[-1]
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"


def _finish(axes: Any, history: History, title: str, *, halo: bool = False) -> int:
    """Title, steps along the axis, and alarms with their names above; how many rows these take."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    last = max(row["step"] for segment in history.segments for row in segment.rows)
    axes.set_xlim(0, last * 1.01)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if last >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("generator updates", fontsize=8)
    axes.tick_params(labelsize=8)
    rows = _alarms(axes, history.segments, last * 1.01, halo)
    axes.set_title(title, fontsize=9.5, loc="left", pad=5 + _ROW * rows, color=INK)
    if not halo:
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return rows


def _alarms(axes: Any, segments: Iterable[Segment], end: float, halo: bool) -> int:
    """A line for each finding, and its name in the lowest row above the axes where it has place; how many rows."""
    found = sorted(
        {(f.step, f.detector, segment.rollback is not None) for segment in segments for f in segment.findings},
        key=lambda f: f[0],
    )
    taken: list[float] = []
    for step, detector, given_up in found:
        if halo and given_up:
            continue
        at, width = step / end, 0.019 * (len(detector) + 1)
        to_the_left = at > 0.5
        start, stop = (at - width, at) if to_the_left else (at, at + width)
        row = next((k for k, until in enumerate(taken) if until <= start), len(taken))
        taken[row : row + 1] = [stop]
        look = {"linestyle": ":", "alpha": 0.6} if given_up else {"linestyle": "-"}
        if halo:
            axes.axvline(step, color="white", linewidth=2.6)
        axes.axvline(step, color=ALARM, linewidth=1.1, **look)
        axes.annotate(
            detector,
            (at, 1),
            (1 if not to_the_left else -1, 3 + _ROW * row),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            fontsize=7,
            color=ALARM,
            alpha=0.7 if given_up else 1,
            in_layout=False,
        )
    return len(taken)
