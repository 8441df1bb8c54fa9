"""Several metrics: one of them is monitored, and none hides a score of another."""

from __future__ import annotations

from typing import Any

import pytest

from adversaria.core.errors import UserError
from adversaria.training.callbacks import Evaluation


class Given:
    """Metrics that say what they are told."""

    mode = "min"

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor


def test_the_first_is_monitored_unless_another_is_named() -> None:
    metrics: Any = {"a": Given("fid"), "b": Given("tv")}
    for name, expected in ((None, "fid"), ("a", "fid"), ("b", "tv")):
        monitored = Evaluation(metrics=metrics, monitor=name).monitored
        assert monitored is not None
        assert monitored.monitor == expected
    assert Evaluation().monitored is None
    with pytest.raises(UserError, match=r"callbacks\.evaluation\.monitor=c .* a, b"):
        Evaluation(metrics=metrics, monitor="c")


def test_two_metrics_that_give_the_same_score_are_refused() -> None:
    metrics: Any = {"a": Given("fid"), "b": Given("fid")}
    with pytest.raises(UserError, match=r"metrics\.a and metrics\.b both give a score fid"):
        Evaluation(metrics=metrics)
