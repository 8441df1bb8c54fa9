"""The tables and measurements of `studies.synthetic` and `studies.synthetic.animate`."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from studies import CONF


@pytest.fixture(autouse=True)
def _without_a_screen() -> None:
    """They draw without a screen."""
    pytest.importorskip("matplotlib").use("agg")


def test_every_cell_is_an_experiment_on_both_data_sets() -> None:
    from studies.synthetic import __main__ as synthetic

    there = {file.stem for file in (CONF / "experiment").glob("*.yaml")}
    assert set(synthetic.EXPERIMENTS) <= there


def test_spread_is_that_of_the_data_cut_off_at_three_standard_deviations() -> None:
    """Of a Gaussian in the plane within r sigmas, squared: 1 - r^2 / 2 e^(-r^2 / 2) / (1 - e^(-r^2 / 2))."""
    from studies.synthetic import __main__ as synthetic

    torch.manual_seed(1)
    modes = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    samples = modes[torch.arange(20_000) % 2] + 0.3 * torch.randn(20_000, 2)
    beyond = math.exp(-4.5)
    assert synthetic.spread(samples, modes, 0.3) == pytest.approx((1 - 4.5 * beyond / (1 - beyond)) ** 0.5, rel=0.02)
    assert synthetic.spread(modes.repeat(5, 1), modes, 0.3) == 0
    assert math.isnan(synthetic.spread(samples[:0], modes, 0.3))


def test_spread_is_about_each_modes_own_centre() -> None:
    from studies.synthetic import __main__ as synthetic

    modes = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    off_centre = torch.tensor([[0.2, 0.0], [0.2, 0.0], [4.2, 0.0], [4.2, 0.0]])
    assert synthetic.spread(off_centre, modes, 0.3) == 0


def test_a_run_that_diverged_counts_as_no_mode() -> None:
    from studies.synthetic import __main__ as synthetic

    good = {
        "status": "finished",
        "metrics": {"modes_covered": 8.0, "high_quality_share": 1.0, "mode_tv": 0.0},
        "generator_updates": 2000,
        "cpu_seconds": 9.6,
    }
    diverged = {"status": "diverged", "metrics": {}, "generator_updates": 70, "cpu_seconds": 1.0}
    cells = synthetic.row("ring8_ns", "loss", [good, diverged], [0.5, math.nan]).split(" | ")
    assert cells[2:5] == ["4.0 ± 5.7", "0.500 ± 0.707", "0.500 ± 0.707"]
    assert cells[6:] == ["2,000", "5", "2 |\n"]


def test_frames_go_from_the_first_update_to_the_last() -> None:
    from studies.synthetic import animate

    steps = animate.steps_of(1000)
    assert (steps[0], steps[-1]) == (0, 1000)
    assert len(steps) == animate.FRAMES
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(steps))
    points = animate.square().reshape(animate.PIXELS, animate.PIXELS, 2)
    assert points[0, -1].tolist() == pytest.approx([animate.EXTENT, -animate.EXTENT])
