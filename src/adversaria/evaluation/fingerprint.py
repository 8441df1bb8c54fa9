"""How a score was made: only scores with equal fingerprints can be compared."""

from __future__ import annotations

from typing import Any, Literal

from adversaria.core.arrays import key_hash
from adversaria.evaluation.protocol import Metrics
from adversaria.nn.layers.batch_norm import RUNNING


def fingerprint(
    metrics: Metrics, *, weights: Literal["ema", "raw"], seed: int, batch_norm: str = RUNNING
) -> dict[str, Any]:
    """Of the scores of a trained model: what the metrics know and what their caller does.

    Args:
        metrics: after `Metrics.prepare`.
        weights: the moving average or the trained weights.
        seed: of latents and labels.
        batch_norm: which statistics BatchNorm uses.
    """
    return {
        **metrics.fingerprint(),
        "weights": weights,
        "batch_norm": batch_norm,
        "evaluation_seed": seed,
    }


#: what tells most scores apart, for one line
_SHOWN = (
    "extractor",
    "reference_dataset",
    "reference_split",
    "reference_count",
    "fakes",
    "weights",
    "evaluation_seed",
)


def in_short(fingerprint: dict[str, Any]) -> str:
    """The identity and the most important entries in one line."""
    shown = ", ".join(f"{name} {fingerprint[name]}" for name in _SHOWN if name in fingerprint)
    return f"{fingerprint_id(fingerprint)} ({shown})"


def fingerprint_id(fingerprint: dict[str, Any]) -> str:
    """Eight hex digits that stand for a fingerprint where there is no room for it; empty for an empty one."""
    return key_hash(fingerprint)[:8] if fingerprint else ""
