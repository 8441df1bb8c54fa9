"""Scores from a script: a trained model, a generator of one's own, images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import adversaria
from adversaria.core.errors import UserError
from adversaria.data.images.given import images_at
from adversaria.evaluation.metrics import FeatureMetrics
from adversaria.features import ClassifierExtractor
from adversaria.runs.folder import Run


class Noise(nn.Module):
    """A generator of one's own: the least that the contract asks for."""

    latent_dim = 64

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.dropout((self.scale * z).tanh()).view(-1, 1, 8, 8)


def metrics(count: int = 64) -> FeatureMetrics:
    return FeatureMetrics(
        extractor=ClassifierExtractor(weights="digits"), count=count, kid_subsets=2, kid_subset_size=50
    )


@pytest.fixture
def reals(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "reals.npz", images=images)
    return tmp_path / "reals.npz"


def test_a_generator_of_ones_own_scores_as_its_images(reals: Path, tmp_path: Path) -> None:
    network = Noise().train()
    scores, made = adversaria.evaluate(network, reals, metrics=metrics())
    assert network.training
    assert made["weights"] == "raw"
    assert made["evaluation_seed"] == 0
    assert adversaria.evaluate(network, reals, metrics=metrics())[0] == scores
    assert adversaria.evaluate(network, reals, metrics=metrics(), seed=1)[0] != scores
    from adversaria.nn.inputs import LatentInputs
    from adversaria.nn.prior import Prior
    from adversaria.sampling.draw import Draw

    drawn = Draw(network.eval(), torch.device("cpu"), LatentInputs(Prior.of(network)))(0, 64).samples
    spec = images_at(str(reals), key="reference").spec
    np.savez(tmp_path / "fakes.npz", images=spec.modality.encode(drawn.detach()).numpy())
    assert adversaria.evaluate(tmp_path / "fakes.npz", reals, metrics=metrics())[0] == scores


def test_a_trained_model(train_run: Callable[..., Run], tiny: tuple[str, ...], reals: Path) -> None:
    run = train_run("run", *tiny, "model=mlp", "data.size=8", "trainer.max_steps=1")
    scores, made = adversaria.evaluate(adversaria.load(run.path), str(reals), metrics=metrics())
    assert made["weights"] == "ema"
    assert scores["classifier_fid64"] > 0


def test_other_shapes_are_refused(reals: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", images=np.zeros((64, 16, 16, 1), np.uint8))
    with pytest.raises(UserError, match=r"\[1, 16, 16\] and those of reference-reals \[1, 8, 8\]"):
        adversaria.evaluate(tmp_path / "large.npz", reals, metrics=metrics())
