"""Scores of edits: closed forms, scikit-image's where it is installed, and what doing nothing scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import config_of

import adversaria
from adversaria.core.errors import UserError
from adversaria.data.module import DataModule
from adversaria.evaluation.metrics import PairedMetrics
from adversaria.evaluation.metrics.pictures import MOST_DECIBELS, detail, mae, psnr, ssim
from adversaria.evaluation.scoring import Subject, of_sampler, score
from adversaria.runs.folder import Run
from adversaria.sampling.draw import Draw
from adversaria.training.experiment import build_experiment

SMALL = ("data=digits", "data.batch_size=8", "model.generator.width=4", "model.generator.depth=1", "metrics.count=64")
SHORT = ("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_steps=2")


def pictures(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    answer = torch.randint(0, 256, (5, 3, 24, 20), generator=draws).float()
    return (answer + 20 * torch.randn(answer.shape, generator=draws)).clamp(0, 255).round(), answer


def test_closed_forms() -> None:
    _, y = pictures()
    assert psnr(y, y).tolist() == [MOST_DECIBELS] * 5
    assert ssim(y, y).tolist() == pytest.approx([1.0] * 5)
    even = torch.full_like(y, 100.0)
    assert psnr(even + 16, even).tolist() == pytest.approx([20 * math.log10(255 / 16)] * 5)
    assert mae(even + 16, even).tolist() == [16.0] * 5
    assert detail(even).tolist() == [0.0] * 5
    board = torch.zeros(1, 1, 10, 10)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 1
    assert detail(board).tolist() == [4.0]  # each place differs from its four neighbours
    # of two even pictures without variance: (2 x y + c1) / (x^2 + y^2 + c1)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert ssim(even, even / 2).tolist() == pytest.approx([expected] * 5, rel=1e-4)


def test_errors_within_a_mask_are_those_of_its_places() -> None:
    x, y = pictures()
    where = torch.zeros(5, 1, 24, 20, dtype=torch.bool)
    where[:, :, 3:9, 4:11] = True
    cut = (..., slice(3, 9), slice(4, 11))
    torch.testing.assert_close(psnr(x, y, where), psnr(x[cut], y[cut]))
    torch.testing.assert_close(mae(x, y, where), mae(x[cut], y[cut]))


def test_structural_similarity_is_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pictures()
    theirs = [
        metrics.structural_similarity(
            *(t.permute(1, 2, 0).double().numpy() for t in pair),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
        )
        for pair in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(ssim(x.double(), y.double()).numpy(), theirs, atol=2e-4)


@pytest.mark.parametrize("pairing", ["denoise", "inpaint", "colourise"])
def test_a_network_that_does_nothing_scores_what_was_given(pairing: str) -> None:
    """At its start the small U-Net gives back what it is given, or fills holes."""
    channels = "data.channels=3" if pairing == "colourise" else "data.channels=1"
    config = config_of("model=regression", f"pairing={pairing}", channels, *SMALL, *SHORT)
    experiment = build_experiment(config)
    metrics = PairedMetrics(count=100)
    scores, _ = score(of_system(experiment.system), experiment.data, metrics)
    given = {name.removeprefix("input_"): value for name, value in scores.items() if name.startswith("input_")}
    made = {name: value for name, value in scores.items() if not name.startswith("input_")}
    assert made.keys() == given.keys()
    if pairing == "inpaint":
        assert made["psnr_unknown"] > given["psnr_unknown"] + 1  # grey is worse than what surrounds a hole
        assert {"psnr_unknown", "mae_unknown"} < made.keys()
    else:
        assert made == pytest.approx(given, rel=1e-3)
        assert "psnr_unknown" not in made
    assert metrics.fingerprint()["edits"] == 100


def of_system(system: Any) -> Subject:
    cpu = torch.device("cpu")

    def draw(data: DataModule) -> Draw:
        return Draw(system.sampler, cpu, system.inputs(data), system.condition)

    return Subject(system.spec, draw, system.sampler, cpu, weights="raw", seed=0)


def test_scores_of_a_run_are_those_of_its_checkpoint(train_run: Callable[..., Run]) -> None:
    run = train_run("run", "model=pix2pix", "pairing=inpaint", *SMALL, *SHORT, "model.discriminator.width=4")
    result = run.read_result() or {}
    assert {"psnr", "input_psnr", "ssim", "sharpness", "psnr_unknown"} <= result["metrics"].keys()
    sampler = adversaria.load(run.path)
    data = build_experiment(config_of("data=digits")).data
    data.prepare()
    scores, _ = score(of_sampler(sampler, seed=0), data, PairedMetrics(count=64))
    assert scores == pytest.approx(result["metrics"], abs=1e-6)


def test_what_has_no_answers_is_refused() -> None:
    experiment = build_experiment(config_of("data=digits", "metrics=none", *SHORT))
    metrics = PairedMetrics()
    metrics.prepare(experiment.data, torch.device("cpu"))
    with pytest.raises(UserError, match="scores edits"):
        metrics.evaluate(
            lambda start, stop: experiment.data.split("train").batch(slice(start, stop)), torch.device("cpu")
        )
    with pytest.raises(UserError, match="has none of"):
        PairedMetrics().prepare(build_experiment(config_of("data=ring8", "model=mlp")).data, torch.device("cpu"))
    with pytest.raises(UserError, match="needs an extractor"):
        PairedMetrics(monitor="answers_fid")
