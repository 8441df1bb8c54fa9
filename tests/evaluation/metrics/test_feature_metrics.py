from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import Batch, DataSpec, Draw
from adversaria.data.images.named import Digits
from adversaria.evaluation.metrics import FeatureMetrics
from adversaria.evaluation.metrics import reference as reference_module
from adversaria.features import ClassifierExtractor, InceptionExtractor
from adversaria.modalities import Points

COUNT = 300


class Pixels(nn.Module):
    """The smallest extractor of one's own: pixels as features, sums of rows as logits."""

    name = "pixels"
    feature_dim = 256
    weights_hash = "none"
    resizer = "none"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.float() / 255
        return x.flatten(1), x.sum(3).flatten(1)


def make(cache: Path, extractor: Any = None, **changes: Any) -> FeatureMetrics:
    fields = {"count": COUNT, "kid_subsets": 5, "kid_subset_size": 100, "is_splits": 3, "batch_size": 128}
    fields |= {"references": ["train"]}
    return FeatureMetrics(extractor=extractor or ClassifierExtractor(), cache_dir=str(cache), **{**fields, **changes})


def reals(digits: Digits, noise: float = 0.0) -> Draw:
    """Real test images, 360 of them and some again, as if a generator had made them."""
    samples = digits.spec.modality.decode(digits.split("test").batch(torch.arange(360)).samples)
    samples = samples.repeat(2, 1, 1, 1)
    samples = samples + noise * torch.randn(samples.shape, generator=torch.Generator().manual_seed(0))
    return unlabelled(lambda start, stop: samples[start:stop].clone())


def unlabelled(draw: Callable[[int, int], Tensor]) -> Draw:
    return lambda start, stop: Batch(draw(start, stop), None)


def test_scores_tell_reals_from_noisy_ones_and_say_what_they_are(
    digits: Digits, device: torch.device, tmp_path: Path
) -> None:
    metrics = make(tmp_path)
    metrics.prepare(digits, device)
    real, noisy = (metrics.evaluate(reals(digits, noise), device) for noise in (0.0, 0.5))
    names = "fid300 kid300 kid300_std is300 is300_std precision300 recall300 density300 coverage300 class_kl300"
    assert list(real) == [f"classifier_{name}" for name in (*names.split(), "missing_classes300")]
    assert metrics.monitor == "classifier_fid300"
    assert real[metrics.monitor] < noisy[metrics.monitor] / 5
    assert real["classifier_kid300"] < noisy["classifier_kid300"] / 5
    assert real["classifier_is300"] > 8


@pytest.mark.parametrize(
    ("count", "name"), [(10_000, "fid10k"), (50_000, "fid50k"), (2500, "fid2500"), (1000, "fid1k")]
)
def test_the_count_is_in_the_name_and_only_inception_goes_without_its_own(
    count: int, name: str, tmp_path: Path
) -> None:
    assert make(tmp_path, InceptionExtractor(), count=count).monitor == name
    assert make(tmp_path, count=count).monitor == f"classifier_{name}"
    assert make(tmp_path, Pixels(), count=count).monitor == f"pixels_{name}"


def test_the_training_images_themselves_score_zero(digits: Digits, device: torch.device, tmp_path: Path) -> None:
    count = len(digits.split("train"))
    samples = digits.spec.modality.decode(digits.split("train").batch(torch.arange(count)).samples)
    samples = torch.cat([samples, samples[:64]])
    metrics = make(tmp_path, count=count, batch_size=256)
    metrics.prepare(digits, device)
    scores = metrics.evaluate(unlabelled(lambda start, stop: samples[start:stop]), device)
    assert scores[f"classifier_fid{count}"] == pytest.approx(0, abs=1e-4)


def test_evaluation_leaves_random_states_and_modes(digits: Digits, device: torch.device, tmp_path: Path) -> None:
    generator = nn.Sequential(nn.Linear(4, 256), nn.Dropout(), nn.Unflatten(1, (1, 16, 16)), nn.Tanh())
    generator[1].eval()

    def draw(start: int, stop: int) -> Tensor:
        np.random.rand(), random.random()
        return generator(torch.randn(stop - start, 4)).detach()

    def state() -> tuple[Any, ...]:
        modes = [module.training for module in generator.modules()]
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(), modes

    metrics = make(tmp_path)
    before = state()
    metrics.prepare(digits, device)
    first = metrics.evaluate(unlabelled(draw), device)
    assert state() == before
    assert metrics.evaluate(unlabelled(draw), device) == first


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite_give_nan_and_one_warning(
    bad: float, digits: Digits, device: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def draw(start: int, stop: int) -> Tensor:
        samples = torch.zeros(stop - start, 1, 16, 16)
        samples[-1, 0, 3, 3] = bad if start == 128 else 0
        return samples

    metrics = make(tmp_path)
    metrics.prepare(digits, device)
    with caplog.at_level(logging.WARNING):
        scores = metrics.evaluate(unlabelled(draw), device)
    assert len(scores) == 11
    assert all(math.isnan(value) for value in scores.values())
    assert len(caplog.records) == 1


def test_failed_linear_algebra_gives_nan_and_one_warning(
    digits: Digits,
    device: torch.device,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.linalg.LinAlgError("did not converge")  # type: ignore[attr-defined]

    metrics = make(tmp_path)
    metrics.prepare(digits, device)
    monkeypatch.setattr(torch.linalg, "eigvalsh", fail)
    with caplog.at_level(logging.WARNING):
        scores = metrics.evaluate(reals(digits), device)
    assert math.isnan(scores["classifier_fid300"])
    assert math.isfinite(scores["classifier_kid300"])
    assert len(caplog.records) == 1


def test_collapse_to_one_image_has_finite_scores(digits: Digits, device: torch.device, tmp_path: Path) -> None:
    metrics = make(tmp_path)
    metrics.prepare(digits, device)
    scores = metrics.evaluate(unlabelled(lambda start, stop: torch.zeros(stop - start, 1, 16, 16)), device)
    assert all(math.isfinite(value) for value in scores.values())
    assert scores["classifier_is300"] == pytest.approx(1)


class TestCache:
    def prepared(self, digits: Digits, device: torch.device, cache: Path, **changes: Any) -> FeatureMetrics:
        metrics = make(cache, Pixels(), **changes)
        metrics.prepare(digits, device)
        return metrics

    def test_is_used(
        self, digits: Digits, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = self.prepared(digits, device, tmp_path).evaluate(reals(digits), device)
        monkeypatch.setattr(reference_module, "_compute", None)
        assert self.prepared(digits, device, tmp_path).evaluate(reals(digits), device) == first

    def test_is_of_one_split_and_one_data_set(
        self, make_digits: Callable[..., Digits], digits: Digits, device: torch.device, tmp_path: Path
    ) -> None:
        self.prepared(digits, device, tmp_path)
        self.prepared(digits, device, tmp_path, references=["test"])
        self.prepared(make_digits(limit=100), device, tmp_path)
        assert len(list(tmp_path.glob("references/*.npz"))) == 3

    @pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
    def test_is_rebuilt_when_it_cannot_be_trusted(
        self, damage: str, digits: Digits, device: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = self.prepared(digits, device, tmp_path).evaluate(reals(digits), device)
        (path,) = tmp_path.glob("references/*.npz")
        whole = path.read_bytes()
        self.prepared(digits, device, tmp_path, references=["test"])
        (other,) = set(tmp_path.glob("references/*.npz")) - {path}
        path.write_bytes({"cut": whole[: len(whole) // 2], "foreign": other.read_bytes(), "empty": b""}[damage])
        with caplog.at_level(logging.WARNING):
            assert self.prepared(digits, device, tmp_path).evaluate(reals(digits), device) == first
        assert "made anew" in caplog.text
        assert path.read_bytes() == whole

    def test_keeps_features_of_images_spread_over_the_split(
        self, digits: Digits, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reference_module, "MAX_FEATURES", 100)
        for _ in range(2):  # made, then read
            kept = reference_module.reference_statistics(Pixels(), digits, "train", 128, device, tmp_path)
            pixels = digits.split("train").samples.reshape(kept.count, 256) / 255
            places = [round(k * (kept.count - 1) / 99) for k in range(100)]
            assert kept.count == len(digits.split("train"))
            np.testing.assert_allclose(kept.features.numpy(), pixels[places], rtol=1e-6)
            np.testing.assert_allclose(kept.mean.numpy(), pixels.mean(0), rtol=1e-6)

    def test_that_cannot_be_written_is_done_without(
        self, digits: Digits, device: torch.device, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "references").write_text("a file where the folder should be")
        with caplog.at_level(logging.WARNING):
            metrics = self.prepared(digits, device, tmp_path)
        assert "not cached" in caplog.text
        assert math.isfinite(metrics.evaluate(reals(digits), device)["pixels_fid300"])


def test_fingerprint_names_everything_that_changes_a_score(
    digits: Digits, make_digits: Callable[..., Digits], device: torch.device, tmp_path: Path
) -> None:
    base, *others = (
        (make(tmp_path, extractor, **changes), data)
        for extractor, changes, data in (
            (Pixels(), {}, digits),
            (ClassifierExtractor(), {}, digits),
            (Pixels(), {"count": 310}, digits),
            (Pixels(), {"references": ["test"]}, digits),
            (Pixels(), {"references": ["train", "test"]}, digits),
            (Pixels(), {"precision_k": 4}, digits),
            (Pixels(), {"density_k": 4}, digits),
            (Pixels(), {"kid_subset_size": 90}, digits),
            (Pixels(), {"kid_subsets": 6}, digits),
            (Pixels(), {"is_splits": 4}, digits),
            (Pixels(), {}, make_digits(limit=500)),
        )
    )
    for metrics, data in (base, *others):
        metrics.prepare(data, device)
    own = base[0].fingerprint()
    assert all(isinstance(value, str | int | float | bool) for value in own.values())
    assert all(metrics.fingerprint() != own for metrics, _ in others)
    assert own["fewer_samples_than_features"] is False
    small = make(tmp_path, Pixels(), count=200)
    small.prepare(digits, device)
    assert small.fingerprint()["fewer_samples_than_features"] is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 1}, "metrics.count=1"),
        ({"count": 2, "is_splits": 3}, "metrics.count=2"),
        ({"batch_size": 100}, "metrics.batch_size=100"),
        ({"batch_size": 0}, "metrics.batch_size=0"),
        ({"kid_subsets": 0}, "metrics.kid_subsets=0"),
        ({"kid_subset_size": 1}, "metrics.kid_subset_size=1"),
        ({"is_splits": 0}, "metrics.is_splits=0"),
        ({"precision_k": 0}, "metrics.precision_k=0"),
        ({"references": []}, r"metrics.references=\[\]"),
        ({"references": ["train", "val"]}, "metrics.references"),
    ],
)
def test_ranges_are_refused_by_name(change: dict[str, int], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        make(tmp_path, **change)


def test_extractors_that_break_the_contract_are_named(digits: Digits, device: torch.device, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Identity is no feature extractor"):
        make(tmp_path, nn.Identity())
    pixels = Pixels()
    pixels.feature_dim = 100
    with pytest.raises(UserError, match=r"\[128, 256\].*\[128, 100\]"):
        make(tmp_path, pixels).prepare(digits, device)


def test_points_are_sent_to_metrics_that_suit_them(device: torch.device, tmp_path: Path) -> None:
    points = SimpleNamespace(name="ring8", spec=DataSpec((2,), None, Points()))
    with pytest.raises(UserError, match=r"data=ring8.*metrics=modes"):
        make(tmp_path).prepare(points, device)
