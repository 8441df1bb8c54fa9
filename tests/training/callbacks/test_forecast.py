"""Memory and hours, once, from the steady rate."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training.callbacks import Forecast


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    logger = logging.getLogger("adversaria")
    propagate, logger.propagate = logger.propagate, True
    with caplog.at_level(logging.INFO, "adversaria"):
        yield lambda: [r.getMessage() for r in caplog.records if r.getMessage().startswith("forecast")]
    logger.propagate = propagate


def trained(forecast: Forecast, updates: range, rank_zero: bool = True) -> None:
    """The hooks of updates that take 9 s each for the first four and 0.5 s each from then on, 50 images each."""
    module = SimpleNamespace(device=torch.device("cpu"), clock=SimpleNamespace(seconds=0.0), images_seen=0)
    trainer = SimpleNamespace(global_step=updates.start, is_global_zero=rank_zero)
    forecast.on_train_start(trainer, module)
    for done, step in enumerate(updates, start=1):
        trainer.global_step = step + 1
        module.images_seen = 50 * (step + 1)
        module.clock.seconds += 9 if done <= 4 else 0.5
        forecast.on_train_batch_end(trainer, module)


@pytest.mark.parametrize("start", [0, 1000], ids=["fresh", "resumed"])
def test_the_first_updates_do_not_count_and_it_is_said_once(lines: Callable[[], list[str]], start: int) -> None:
    trained(Forecast(after=20), range(start, start + 90))
    [line] = lines()
    assert line.startswith("forecast 100 images/s")
    hours = [float(hour) for hour in re.findall(r"in ([\d.,]+) h", line)]
    assert hours == [round(n * 1e6 / 100 / 3600, 1) for n in (1, 5, 25)]
    assert re.search(r"\d\.\d GiB", line)


def test_one_rank_speaks(lines: Callable[[], list[str]]) -> None:
    trained(Forecast(), range(40), rank_zero=False)
    assert lines() == []


def test_it_needs_steady_updates() -> None:
    with pytest.raises(UserError, match=r"callbacks\.forecast\.after=16"):
        Forecast(after=16)


def test_in_a_run(train_run: Callable[..., Run], lines: Callable[[], list[str]]) -> None:
    points = ("data=ring8", "model=mlp", "model.generator.width=8", "model.discriminator.width=8", "metrics=none")
    result: dict[str, Any] = train_run("run", *points, "callbacks=forecast", "trainer.max_steps=30").read_result() or {}
    assert result["status"] == "finished"
    assert len(lines()) == 1
