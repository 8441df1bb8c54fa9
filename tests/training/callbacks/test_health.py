"""A run's health: training is the same with and without it, and broken runs are told to be broken."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from training.test_resume import IMAGES, POINTS, assert_equal

from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training.callbacks import Health
from studies.failures.__main__ import disturbed

SHORT = (
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_steps=24",
    "trainer.log_every_n_steps=4",
    "callbacks.samples.count=4",
    "callbacks.health.every_n_steps=4",
    "callbacks.health.samples=8",
    "data.batch_size=8",
)


@pytest.fixture
def broken_run(train_run: Callable[..., Run]) -> Callable[..., Run]:
    """`train_run` that knows the classes of `studies.failures.broken`."""
    return lambda name, *overrides: train_run(name, *overrides, "trust=[studies]")


def rows_of(run: Run) -> list[dict[str, str]]:
    with open(run.path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def found_in(run: Run) -> dict[str, int]:
    return {finding["detector"]: finding["step"] for finding in (run.read_result() or {})["findings"]}


@pytest.mark.parametrize(
    "overrides",
    [
        POINTS,
        IMAGES,
        (*IMAGES, "regulariser=[spectral_norm,r1]", "regulariser.r1.interval=3", "model.discriminator.norm=none"),
    ],
    ids=["points", "batch_norm", "spectral_norm"],
)
def test_training_is_bit_equal_with_and_without(train_run: Callable[..., Run], overrides: tuple[str, ...]) -> None:
    watched = train_run("watched", *overrides, *SHORT, "callbacks.health.singular_values=true")
    alone = train_run("alone", *overrides, *SHORT, "~callbacks.health", "~callbacks.guard")
    one, other = (torch.load(run.last, weights_only=True) for run in (watched, alone))
    for key in ("state_dict", "ema", "optimizer_states"):
        assert_equal(one[key], other[key], key)


def test_values_are_logged_when_they_are_due(train_run: Callable[..., Run]) -> None:
    run = train_run(
        "run", *IMAGES, *SHORT, "callbacks.health.every_n_steps=10", "callbacks.health.singular_values=true"
    )
    rows = {int(row["step"]): row for row in rows_of(run)}
    # Each multiple of ten is read at the first logged step from there on.
    assert [step for step, row in rows.items() if row["diversity/spread"]] == [12, 20]
    row = rows[12]
    for network in ("generator", "discriminator"):
        assert float(row[f"nonfinite_share/{network}"]) == 0
        layers = [float(v) for n, v in row.items() if n.startswith(f"gradient_profile/{network}/")]
        assert float(row[f"gradient_peak/{network}"]) >= math.hypot(*layers) * (1 - 1e-4)  # of this step's matrices
        assert float(row[f"gradient_profile/{network}_ratio"]) == pytest.approx(min(layers) / max(layers), rel=1e-4)
        assert sum(n.startswith(f"singular_value/{network}/") for n in row) == len(layers) >= 3
        # Adam's first steps change each weight by about the rate.
        assert 0 < float(row[f"update_ratio/{network}"]) < 1
    assert not [row for step, row in rows.items() if step not in (12, 20) and row["health/d_signal"]]


@pytest.mark.parametrize("factor", ["nan", "inf"])
def test_gradients_that_are_not_finite_are_named(broken_run: Callable[..., Run], factor: str) -> None:
    run = broken_run(
        "run",
        *POINTS,
        *SHORT,
        f"+callbacks.disturb={{_target_: studies.failures.broken.Disturb, step: 9, factor: '{factor}'}}",
    )
    assert (run.read_result() or {})["status"] == "diverged"
    assert found_in(run)["not_finite"] <= 12


def test_a_disturbance_is_that_of_one_update(broken_run: Callable[..., Run]) -> None:
    def peaks(name: str, factor: float) -> list[float]:
        disturb = disturbed(9, factor)
        run = broken_run(name, *POINTS, *SHORT, "trainer.max_steps=12", disturb)
        return [float(row["gradient_peak/generator"]) for row in rows_of(run)]

    plain, tripled = peaks("plain", 1.0), peaks("spike", 1000.0)
    assert tripled[:2] == plain[:2]
    assert tripled[2] > 100 * plain[2]


def test_a_generator_that_ignores_its_latent_is_named(broken_run: Callable[..., Run]) -> None:
    run = broken_run(
        "run",
        "data=digits",
        "model.discriminator.width=8",
        "metrics=none",
        *SHORT,
        "~model.generator",
        "+model.generator={_target_: studies.failures.broken.ConstantGenerator, latent_dim: 4}",
        "callbacks.health.detectors.generator_collapse.after=8",
    )
    assert [float(row["diversity/spread"]) for row in rows_of(run)] == [0.0] * 6
    assert found_in(run)["generator_collapse"] == 16  # the third reading from update 8 on


@pytest.mark.parametrize(("field", "value"), [("every_n_steps", 0), ("samples", 1)])
def test_impossible_settings_are_refused(field: str, value: int) -> None:
    with pytest.raises(UserError, match=f"callbacks.health.{field}={value}"):
        Health(**{field: value})


def test_readings_and_findings_survive_a_checkpoint(train_run: Callable[..., Run]) -> None:
    found = ("callbacks.health.detectors.generator_collapse.spread=1000",)  # everything is a collapse
    overrides = (*POINTS, *SHORT, *found, "callbacks.health.detectors.generator_collapse.after=8")
    run = train_run("run", *overrides)
    state: dict[str, Any] = torch.load(run.last, weights_only=True)["callbacks"]
    [health] = [value for name, value in state.items() if name.startswith("Health")]
    assert [finding["detector"] for finding in health["examination"]["findings"]] == ["generator_collapse"]
    assert [r["step"] for r in health["examination"]["earlier"] if "diversity/spread" in r] == [4, 8, 12, 16, 20, 24]
    assert all(math.isfinite(value) for value in health["peaks"].values())
