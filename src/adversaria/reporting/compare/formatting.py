"""Numbers as people read them."""

from __future__ import annotations

import math

from adversaria.reporting.compare.statistics import Estimate

NOTHING = "–"
_PREFIXES = ("", " k", " M", " G", " T", " P")


def number(value: float | None) -> str:
    """Four significant digits, thousands apart: ``0.02327``, ``7.285``, ``12,480``."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e6:
        return _minus(f"{int(value):,}")
    if not 1e-4 <= abs(value) < 1e6:
        return _minus(f"{value:.3e}")
    return _minus(f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}")


def scaled(value: float | None) -> str:
    """Three significant digits with a prefix: ``1.07 M``."""
    if value is None or math.isnan(value):
        return NOTHING
    power = 0 if abs(value) < 1 else min(int(math.log10(abs(value)) // 3), len(_PREFIXES) - 1)
    return f"{value / 1000**power:.3g}{_PREFIXES[power]}"


def estimate(value: Estimate) -> str:
    """``3.10 ± 0.22``: the interval has two significant digits, the mean as many decimals; the mean alone if n = 1."""
    half = value.half_width
    if half is None or half <= 1e-9 * abs(value.mean):  # equal values up to rounding
        return number(value.mean) if value.n else NOTHING
    if not 1e-4 <= half < 1e6 or abs(value.mean) >= 1e6:
        return _minus(f"{value.mean:.3e} ± {half:.1e}")
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return _minus(f"{value.mean:,.{decimals}f} ± {half:,.{decimals}f}")


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text
