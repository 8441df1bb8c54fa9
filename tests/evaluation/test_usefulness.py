from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adversaria.config.build import check, construct
from adversaria.core.arrays import content_hash
from adversaria.core.errors import UserError
from adversaria.core.types import Batch, DataSpec, Draw
from adversaria.data.images.named import Digits
from adversaria.data.storage import Split
from adversaria.evaluation import usefulness as module
from adversaria.evaluation.usefulness import Usefulness, stratified
from adversaria.features.classifier import to_arrays
from adversaria.features.classifier_training import Recipe, TrainingProgress, accuracy, train_on_mixture
from adversaria.modalities import Image, Points

CPU = torch.device("cpu")


class Centroids(nn.Module):
    """Names the class whose mean is nearest: learns in milliseconds what the real classifier takes seconds for."""

    def __init__(self, splits: Sequence[Split], num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(256, num_classes)
        # as in the real one every batch has equal shares of each of the splits
        means = torch.stack([self.means(split, num_classes) for split in splits]).mean(0)  # [K, 256]
        self.head.weight.data, self.head.bias.data = 2 * means, -means.square().sum(1)

    @staticmethod
    def means(split: Split, num_classes: int) -> Tensor:
        samples, labels = split.batch(slice(None))
        return torch.stack([samples[labels == k].flatten(1).float().mean(0) / 255 for k in range(num_classes)])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.flatten(1).float() / 255
        return x, self.head(x)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], Recipe, TrainingProgress]]:
    """`Centroids` in place of the real classifier; how many images each was given, and with what else."""
    calls: list[tuple[list[int], Recipe, TrainingProgress]] = []

    def fit(splits: Sequence[Split], num_classes: int, **keywords: Any) -> Centroids:
        calls.append(([len(split) for split in splits], keywords["recipe"], keywords["progress"]))
        return Centroids(splits, num_classes)

    monkeypatch.setattr(module, "train_on_mixture", fit)
    return calls


def draw_from(split: Split, *, labelled: bool = True, shift: int = 0) -> Draw:
    """Images of ``split`` again and again as if a generator had made them; ``shift`` makes their labels wrong."""

    def draw(start: int, stop: int) -> Batch:
        samples, labels = split.batch(np.arange(start, stop) % len(split))
        assert labels is not None
        return Batch(samples, (labels + shift) % 10 if labelled else None)

    return draw


@pytest.mark.usefixtures("trainings")
def test_labelled_images_of_the_data_teach_and_wrong_labels_do_not(digits: Digits) -> None:
    metric, train = Usefulness(shares=[0.01]), digits.split("train")
    good = metric.evaluate(draw_from(train), digits, CPU)
    bad = metric.evaluate(draw_from(train, shift=1), digits, CPU)
    stems = ["cas"]
    for share in ("1pct", "100pct"):
        stems += [f"accuracy_{share}", f"accuracy_{share}_with_generated", f"gain_{share}"]
    assert list(good) == [name for stem in stems for name in (stem, f"{stem}_std")]
    assert all(type(value) is float for value in good.values())
    # "generated" images that are the training set itself
    assert good["cas"] == good["accuracy_100pct"] > 0.85
    assert good["gain_100pct"] == good["gain_100pct_std"] == 0
    assert good["gain_1pct"] > 0.02
    assert good["accuracy_1pct_std"] > 0  # other images for each seed
    assert bad["cas"] < 0.1
    assert bad["gain_100pct"] < -0.1
    for share in ("1pct", "100pct"):
        assert good[f"accuracy_{share}"] == bad[f"accuracy_{share}"]  # of real images alone
        difference = good[f"accuracy_{share}_with_generated"] - good[f"accuracy_{share}"]
        assert good[f"gain_{share}"] == pytest.approx(difference, abs=1e-12)


def test_means_and_spreads_are_those_of_pairs(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.9, 0.5, 0.7, 0.8, 0.4, 0.7])  # of two seeds: generated, real, both
    monkeypatch.setattr(module, "train_on_mixture", lambda *_, **__: None)
    monkeypatch.setattr(module, "accuracy", lambda *_: next(accuracies))
    scores = Usefulness(shares=[], seeds=2).evaluate(draw_from(digits.split("train")), digits, CPU)
    expected = {"cas": (0.9, 0.8), "accuracy_100pct": (0.5, 0.4), "gain_100pct": (0.2, 0.3)}
    for name, (first, second) in expected.items():
        assert scores[name] == pytest.approx((first + second) / 2)
        assert scores[f"{name}_std"] == pytest.approx(abs(first - second) / math.sqrt(2))


def test_images_of_an_unconditional_model_are_labelled_by_each_share(
    digits: Digits,
    trainings: list[tuple[list[int], Recipe, TrainingProgress]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    named: list[Split] = []
    label = module._labelled_by
    monkeypatch.setattr(module, "_labelled_by", lambda *a: named.append(label(*a)) or named[-1])
    metric, train = Usefulness(seeds=2, shares=[0.01], count=500), digits.split("train")
    with caplog.at_level(logging.INFO):
        scores = metric.evaluate(draw_from(train, labelled=False), digits, CPU)
    assert "cas is left out" in caplog.text
    assert "usefulness trains 8 classifiers on 100,000 images each" in caplog.text
    assert not any(name.startswith("cas") for name in scores)
    few = len(stratified(train, 0.01, 0))
    assert [sizes for sizes, _, _ in trainings] == 2 * [[few], [few, 500], [len(train)], [len(train), 500]]
    # the classifier of few images errs more often than that of all
    right = [float((split.labels == train.labels[:500]).mean()) for split in named]
    assert right[0] < right[1]
    assert right[2] < right[3]
    assert metric.fingerprint()["labels"] == "pseudo"


def test_all_trainings_are_equally_long(
    digits: Digits, trainings: list[tuple[list[int], Recipe, TrainingProgress]]
) -> None:
    metric = Usefulness(images=12_800, seeds=2, shares=[0.05, 1], count=64)
    metric.evaluate(draw_from(digits.split("train")), digits, CPU)
    _, recipes, bars = zip(*trainings, strict=True)
    assert list(recipes) == 5 * [Recipe(12_800, seed=0)] + 5 * [Recipe(12_800, seed=1)]
    assert {bar._bar.total for bar in bars} == {10 * 100}


def test_mixture_has_equal_shares_in_every_batch_however_few_images(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, recipe = digits.split("train"), Recipe(images=330, batch_size=32)
    few, many = Split(train.samples[:5], np.full(5, 3)), Split(train.samples[5:900], np.full(895, 7))
    seen: list[Tensor] = []
    cross_entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda x, y: seen.append(y) or cross_entropy(x, y))
    state = torch.get_rng_state()
    hashes = []
    for splits in ([few, many], [few, many], [many]):
        with closing(TrainingProgress("test", recipe.batches)) as progress:
            network = train_on_mixture(splits, 10, mirror=False, recipe=recipe, device=CPU, progress=progress)
            assert progress._bar.n == 10
        assert not network.training
        hashes.append(content_hash(to_arrays(network)[0]))
    assert [int((labels == 3).sum()) for labels in seen] == 20 * [16] + 10 * [0]
    assert {len(labels) for labels in seen} == {32}
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_real_classifier_learns_from_a_mixture(digits: Digits) -> None:
    """Zeros from one split, ones from the other."""
    train, test = (
        Split(split.samples[split.labels < 2], split.labels[split.labels < 2])
        for split in (digits.split("train"), digits.split("test"))
    )
    parts = [Split(train.samples[train.labels == k], train.labels[train.labels == k]) for k in range(2)]
    recipe = Recipe(images=960, batch_size=32, lr=0.05)
    with closing(TrainingProgress("test", recipe.batches)) as progress:
        network = train_on_mixture(parts, 2, mirror=False, recipe=recipe, device=CPU, progress=progress)
    assert accuracy(network, test) > 0.9


def test_stratified_keeps_the_classes_and_depends_on_the_seed() -> None:
    labels = np.repeat(np.arange(4), (1000, 200, 30, 1))
    split = Split(np.arange(len(labels), dtype=np.int64).reshape(-1, 1, 1, 1), labels)
    some = stratified(split, 0.1, seed=0)
    assert np.bincount(some.labels).tolist() == [100, 20, 3, 1]
    places = some.samples.ravel()
    assert (labels[places] == some.labels).all()
    assert (np.diff(places) > 0).all()  # none twice
    assert np.array_equal(places, stratified(split, 0.1, seed=0).samples.ravel())
    assert not np.array_equal(places, stratified(split, 0.1, seed=1).samples.ravel())
    assert stratified(split, 1.0, seed=0) is split


@pytest.mark.usefixtures("trainings")
def test_random_state_and_fingerprint(make_digits: Callable[..., Digits]) -> None:
    data, metric = make_digits(limit=100), Usefulness(images=1280, seeds=2, shares=[])
    with pytest.raises(RuntimeError, match="evaluate"):
        metric.fingerprint()
    state = torch.get_rng_state()
    first = metric.evaluate(draw_from(data.split("train")), data, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert metric.evaluate(draw_from(data.split("train")), data, CPU) == first
    made = metric.fingerprint()
    assert (made["labels"], made["generated"], made["seeds"]) == ("model", 100, 2)
    assert (made["recipe_images"], made["train_count"]) == (1280, 100)
    assert all(isinstance(value, str | int | float | bool) for value in made.values())
    assert metric.shares == [1.0]


def test_what_cannot_be_measured_is_refused(make_digits: Callable[..., Digits], digits: Digits) -> None:
    metric = Usefulness()
    for spec in (DataSpec((1, 8, 8), None, Image()), DataSpec((2,), 8, Points())):
        with pytest.raises(UserError, match=r"two classes, which data=mine is not"):
            metric.check(SimpleNamespace(name="mine", spec=spec))
    data = make_digits()
    del data.loaded.splits["test"]
    with pytest.raises(UserError, match="needs test images"):
        metric.evaluate(draw_from(data.split("train")), data, CPU)
    samples = torch.full((64, 1, 16, 16), math.nan)
    with pytest.raises(UserError, match="not finite"):
        metric.evaluate(lambda start, stop: Batch(samples, None), digits, CPU)
    for wrong in ({"images": 1279}, {"seeds": 1}, {"count": 0}, {"shares": [0.0]}, {"shares": [1.1]}):
        with pytest.raises(UserError, match=f"usefulness.{next(iter(wrong))}="):
            Usefulness(**wrong)


def test_config_builds_it() -> None:
    import yaml

    from adversaria.config.plain import conf_dir

    node = yaml.safe_load((conf_dir() / "usefulness" / "accuracy.yaml").read_text())
    check(node, "usefulness")
    assert vars(construct(node, "usefulness")) == vars(Usefulness())
