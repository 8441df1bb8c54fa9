"""Pictures of what latents mean: beside the samples of a run, and from sample.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adversaria.cli import sample
from adversaria.runs.folder import Run

from .conftest import Command

COMMON = (
    "trainer.max_steps=2",
    "data.batch_size=8",
    "metrics=none",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)


@pytest.fixture
def infogan(train_run: Callable[..., Run]) -> Run:
    widths = ("model.generator.network.width=8", "model.discriminator.network.width=8")
    return train_run("infogan", "model=infogan", "data=digits", *COMMON, *widths)


def test_a_run_shows_its_codes_and_sample_shows_one(command: Command, infogan: Run, in_tmp: Path) -> None:
    pictures = {file.name for file in (infogan.path / "samples").glob("*.png")}
    assert {f"{name}_000002.png" for name in ("categorical_0", "continuous_0", "continuous_1")} < pictures
    code, _, _ = command(sample, f"checkpoint={infogan.path}", "traverse=continuous_1", "out=codes.png")
    assert code == 0
    shown = np.asarray(Image.open("codes.png").convert("RGB"))
    assert shown.shape == (10 * 66 + 2, 10 * 66 + 2, 3)  # categories times steps of the code
    stored = np.asarray(Image.open(infogan.path / "samples" / "continuous_1_000002.png").convert("RGB"))
    assert np.abs(shown.astype(int) - stored).max() <= 1  # the callback's latents are the same
    for arguments, message in (
        (["traverse=size"], "choices are categorical_0, continuous_0, continuous_1"),
        (["traverse=continuous_0", "interpolate=5"], "two pictures"),
        (["traverse=continuous_0", "truncation=0.7"], "two pictures"),
    ):
        code, _, err = command(sample, f"checkpoint={infogan.path}", *arguments)
        assert code == 2
        assert message in err


def test_points_of_a_mixture_are_coloured_by_generator(
    command: Command, train_run: Callable[..., Run], in_tmp: Path
) -> None:
    networks = ("generator@model.generator.network=mlp", "discriminator@model.discriminator.network=mlp")
    run = train_run("mgan", "model=mgan", "data=ring8", *COMMON, *networks, "model.generator.number=3")
    assert command(sample, f"checkpoint={run.path}", "traverse=generators", "out=g.png")[0] == 0
    assert command(sample, f"checkpoint={run.path}", "out=s.png")[0] == 0
    coloured, plain = (
        len({tuple(c) for _, c in Image.open(name).getcolors(1 << 20) if max(c) - min(c) > 60})
        for name in ("g.png", "s.png")
    )
    assert coloured > plain
    assert command(sample, f"checkpoint={run.path}", "traverse=generators", "format=npz", "out=g.npz")[0] == 0
    assert np.load("g.npz")["points"].shape == (300, 2)
