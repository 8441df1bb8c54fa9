"""How often evaluation takes place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training.callbacks import Evaluation


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("cost", [0.1, 3.0, 70.0])
def test_interval_is_the_shortest_that_keeps_the_share(share: float, cost: float) -> None:
    evaluation = Evaluation(every_n_steps=100, max_share=share)
    interval = 10.0  # seconds of training between two turns
    evaluation._passed = 1
    evaluation._choose_interval(cost, interval)
    stretch = evaluation._stretch
    assert cost / (cost + stretch * interval) <= share + 1e-9
    assert stretch == 1 or cost / (cost + (stretch - 1) * interval) > share
    # A cheaper evaluation later brings the interval back.
    evaluation._passed = stretch
    evaluation._choose_interval(1e-6, interval * (1 + stretch))
    assert evaluation._stretch == 1


def test_without_a_bound_every_turn_counts() -> None:
    evaluation = Evaluation(max_share=None)
    evaluation._passed = 1
    evaluation._choose_interval(1000.0, 1.0)
    assert evaluation._stretch == 1


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(UserError, match=f"max_share={share}"):
        Evaluation(max_share=share)


def test_a_costly_evaluation_waits_and_says_so(
    train_run: Callable[..., Run], tiny: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("adversaria").propagate = True
    with caplog.at_level(logging.INFO, logger="adversaria"):
        run = train_run(
            "run",
            *tiny,
            "model=mlp",
            "data=ring8",
            "metrics=modes",
            "metrics.count=64",
            "model.generator.width=8",
            "model.discriminator.width=8",
            "trainer.max_steps=20",
            "trainer.log_every_n_steps=4",
            "callbacks.evaluation.every_n_steps=4",
            "callbacks.evaluation.max_share=0.000001",
        )
    rows = [line.split(",") for line in (run.path / "metrics.csv").read_text().splitlines()]
    column = rows[0].index("score/mode_tv")
    assert [int(row[0]) for row in rows[1:] if row[column]] == [4, 20]
    assert "callbacks.evaluation.max_share" in caplog.text
    result: Any = run.read_result()
    assert [row[rows[0].index("score/fingerprint")] for row in rows[1:] if row[column]] == 2 * [
        result["fingerprint_id"]
    ]
    assert result["best"]["step"] in (4, 20)
