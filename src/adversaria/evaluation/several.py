"""Several metrics of one run: which of them is monitored, and what they may not share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.evaluation.protocol import Metrics


def monitored(metrics: Mapping[str, Metrics], name: str | None = None) -> Metrics:
    """The metrics by whose monitored score the best checkpoint is kept.

    Args:
        metrics: by name, at least one.
        name: of one of them; None: the first.

    Raises:
        UserError: none has that name.
    """
    if name is not None and name not in metrics:
        raise UserError(
            f"callbacks.evaluation.monitor={shown(name)} is not among the metrics of the run; choose one of"
            f" {', '.join(map(shown, metrics))}, or null for the first"
        )
    return metrics[next(iter(metrics)) if name is None else name]


def refuse_equal_scores(scores: Mapping[str, Iterable[str]]) -> None:
    """Refuses metrics that give a score the same name, for one value would hide the other.

    Args:
        scores: the names of the scores of each metrics, by the name of the metrics.

    Raises:
        UserError: two metrics share one.
    """
    owners: dict[str, str] = {}
    for metrics, names in scores.items():
        for name in names:
            if (owner := owners.setdefault(name, metrics)) != metrics:
                raise UserError(
                    f"metrics.{shown(owner)} and metrics.{shown(metrics)} both give a score {shown(name)}; leave one"
                    " out, or give them different counts or extractors"
                )
