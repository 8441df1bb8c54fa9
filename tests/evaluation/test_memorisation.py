from __future__ import annotations

import logging
import math
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor, nn

from adversaria import modalities
from adversaria.config.build import check, construct
from adversaria.core.arrays import load_arrays, save_arrays
from adversaria.core.errors import UserError
from adversaria.core.types import Batch, DataSpec, Draw
from adversaria.data.images.named import Digits
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split
from adversaria.evaluation import memorisation as module
from adversaria.evaluation.memorisation import Memorisation, copying_scores, nearest
from adversaria.evaluation.neighbour_picture import Row, neighbour_picture
from adversaria.features import ClassifierExtractor

CPU = torch.device("cpu")


class Pixels(nn.Module):
    """Pixels as features, times ``scale``; counts how many images it saw."""

    name, feature_dim, resizer = "pixels", 256, "none"

    def __init__(self, scale: float = 1 / 255) -> None:
        super().__init__()
        self.scale, self.weights_hash, self.seen = scale, f"times {scale}", 0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += len(images)
        return images.flatten(1) * self.scale, torch.zeros(len(images), 1)


def repeat(images: Tensor) -> Draw:
    """``images [N, C, H, W]`` again and again, as if a generator had made them."""
    return lambda start, stop: Batch(images[torch.arange(start, stop) % len(images)], None)


class Arrays(DataModule):
    """Grey images ``[N, 32, 32, 1]`` of two splits."""

    def __init__(self, **splits: np.ndarray) -> None:
        super().__init__(name="arrays", batch_size=1, storage="memory", num_workers=0, seed=0)
        self.arrays = splits
        self.prepare()

    def load(self) -> Loaded:
        splits = {name: Split(array, None) for name, array in self.arrays.items()}
        return Loaded(
            DataSpec((1, 32, 32), None, modalities.Image()), splits, {name: {"split": name} for name in splits}
        )


def stored(split: Split, rows: slice | np.ndarray = slice(None)) -> Tensor:
    return split.batch(rows).samples


def measure(tmp_path: Path, **changes: object) -> Memorisation:
    return Memorisation(**{"count": 360, "cache_dir": str(tmp_path / "cache"), **changes})


@pytest.fixture(scope="module")
def classifier(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> ClassifierExtractor:
    extractor = ClassifierExtractor()
    extractor.load(digits, CPU, tmp_path_factory.mktemp("weights"))
    return extractor.eval()


def test_copies_are_found_and_test_images_are_not(
    digits: Digits, classifier: ClassifierExtractor, tmp_path: Path
) -> None:
    metric, picture = measure(tmp_path), tmp_path / "p.png"
    copies = stored(digits.split("train"))
    noisy = digits.spec.modality.decode(copies) + 0.02 * torch.randn(copies.shape)
    scores = {
        name: metric.evaluate(repeat(images), digits, classifier, CPU, picture)
        for name, images in (("copies", copies), ("noisy", noisy), ("test", stored(digits.split("test"))))
    }
    assert scores["copies"]["duplicates"] == 1
    assert scores["copies"]["farther_than_test"] == 0
    assert scores["copies"]["data_copying_z"] < -20
    assert scores["noisy"]["duplicates"] > 0.5
    assert scores["noisy"]["data_copying_z"] < -10
    assert scores["test"]["duplicates"] == pytest.approx(0.01, abs=0.01)
    assert abs(scores["test"]["data_copying_z"]) < 1  # the very images that it is compared with, but for the last 4
    assert scores["test"]["farther_than_test"] == pytest.approx(0.5, abs=0.02)


def test_noisy_and_shifted_copies_are_found_in_mnist(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "mnist-idx.tar.xz") as archive:
        raw = archive.extractfile("MNIST/raw/t10k-images-idx3-ubyte").read()
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))[np.random.default_rng(0).permutation(10_000)]
    data = Arrays(train=images[:1500], test=images[1500:2000])
    extractor = ClassifierExtractor(weights="mnist")
    extractor.load(data, CPU, tmp_path)
    metric, extractor = measure(tmp_path, count=300), extractor.eval()
    copies = data.spec.modality.decode(stored(data.split("train"), slice(0, 300)))
    unseen = images[2000:2300]
    scores = {
        name: metric.evaluate(repeat(samples), data, extractor, CPU, tmp_path / "p.png")
        for name, samples in {
            "noisy": copies + 0.02 * torch.randn(copies.shape),
            "shifted": copies.roll(1, dims=3),
            "unseen": stored(Split(unseen, None)),
        }.items()
    }
    assert scores["noisy"]["duplicates"] > 0.9
    assert scores["noisy"]["data_copying_z"] < -15
    assert scores["shifted"]["data_copying_z"] < -10
    assert scores["unseen"]["duplicates"] < 0.05
    assert abs(scores["unseen"]["data_copying_z"]) < 3


def test_copies_of_mirrored_images_are_found_where_the_data_are_mirrored(
    make_digits: Callable[..., Digits], tmp_path: Path
) -> None:
    for mirror in (False, True):
        data = make_digits(mirror=mirror)
        mirrored = stored(data.split("train")).flip(3)
        scores = measure(tmp_path).evaluate(repeat(mirrored), data, Pixels(), CPU, tmp_path / f"{mirror}.png")
        assert (scores["duplicates"] == 1) == mirror
    left, right = (np.asarray(Image.open(tmp_path / f"{mirror}.png")) for mirror in (False, True))
    assert not np.array_equal(left, right)


def test_images_that_appear_twice_break_nothing(make_digits: Callable[..., Digits], tmp_path: Path) -> None:
    data = make_digits()
    train = data.split("train")
    twice = np.concatenate([train.samples, train.samples])
    data.loaded.splits.update(train=Split(twice, None), test=Split(train.samples[:100], None))
    copies, others = stored(data.split("train")), 255 - stored(data.split("train"))
    scores = measure(tmp_path).evaluate(repeat(copies), data, Pixels(), CPU, tmp_path / "p.png")
    assert (scores["duplicates"], scores["duplicates_of_test"], scores["duplicate_distance"]) == (1, 1, 0)
    assert (scores["farther_than_test"], scores["data_copying_z"]) == (0.5, 0)
    scores = measure(tmp_path).evaluate(repeat(others), data, Pixels(), CPU, tmp_path / "p.png")
    assert (scores["duplicates"], scores["farther_than_test"]) == (0, 1)


@pytest.mark.parametrize("decimals", [1, 8], ids=["many ties", "no ties"])
def test_z_is_that_of_the_mann_whitney_test(decimals: int) -> None:
    random = np.random.default_rng(0)
    samples, test = random.normal(-0.1, 1, 300).round(decimals), random.normal(0, 1, 200).round(decimals)
    expected = stats.mannwhitneyu(samples, test, use_continuity=False, method="asymptotic")
    scores = copying_scores(torch.from_numpy(samples), torch.from_numpy(test), 0.01)
    assert scores["farther_than_test"] == pytest.approx(expected.statistic / (300 * 200), rel=1e-12)
    assert math.erfc(abs(scores["data_copying_z"]) / math.sqrt(2)) == pytest.approx(expected.pvalue, rel=1e-9)
    assert scores["data_copying_z"] < 0


def test_z_is_standard_normal_for_equal_distributions() -> None:
    draws = torch.rand(400, 2, 100, generator=torch.Generator().manual_seed(0))
    z = torch.tensor([copying_scores(samples, test, 0.1)["data_copying_z"] for samples, test in draws])
    assert float(z.mean()) == pytest.approx(0, abs=0.2)
    assert float(z.std()) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize(("quantile", "rank"), [(0.01, 1), (0.1, 10), (0.105, 11), (0.999, 100)])
def test_threshold_is_the_smallest_distance_that_the_quantile_does_not_exceed(quantile: float, rank: int) -> None:
    test = torch.arange(1.0, 101)[torch.randperm(100)]
    scores = copying_scores(torch.tensor([rank - 0.5, rank, rank + 0.5, 200]), test, quantile)
    assert scores["duplicate_distance"] == rank
    assert scores["duplicates_of_test"] == rank / 100
    assert scores["duplicates"] == 0.5


@pytest.mark.parametrize("k", [1, 4])
def test_nearest_is_the_plain_search_whatever_the_chunks(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    references = (torch.randn(101, 7) + 30).half()
    queries = torch.cat([references[:13], (torch.randn(40, 7) + 30).half()])
    expected, _ = torch.cdist(queries.double(), references.double()).sort(dim=1)
    found = []
    for chunk in (1000, 17, 2):  # the last is smaller than k
        monkeypatch.setattr(module, "_QUERIES", chunk)
        monkeypatch.setattr(module, "_REFERENCES", chunk)
        distances, indices = nearest(queries, references, k, CPU)
        torch.testing.assert_close(distances.double(), expected[:, :k], atol=1e-5, rtol=1e-5)
        assert (distances[:13, 0] == 0).all()
        assert (indices[:13, 0] == torch.arange(13)).all()
        found.append(indices)
    assert all(torch.equal(indices, found[0]) for indices in found)


def test_training_features_are_made_once_and_a_bad_cache_is_replaced(
    digits: Digits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metric, extractor = measure(tmp_path), Pixels()
    stored_images = len(digits.split("train")) + len(digits.split("test"))

    def evaluate() -> tuple[int, dict[str, float]]:
        before = extractor.seen
        scores = metric.evaluate(repeat(stored(digits.split("test"))), digits, extractor, CPU, tmp_path / "p.png")
        return extractor.seen - before - metric.count, scores

    made, first = evaluate()
    assert made == stored_images
    assert evaluate() == (0, first)
    (path,) = (tmp_path / "cache" / "training_features").iterdir()
    whole = path.read_bytes()
    arrays, about = load_arrays(path)
    wrong_shape = {**arrays, "features": arrays["features"][:, :5]}
    for spoil in (
        lambda: path.write_bytes(whole[:5000]),
        lambda: save_arrays(path, arrays, {**about, "weights": "foreign"}),
        lambda: save_arrays(path, wrong_shape, about),
    ):
        spoil()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert evaluate() == (stored_images, first)
        assert "made anew" in caplog.text
        assert path.read_bytes() == whole
    extractor.weights_hash = "other"
    assert evaluate()[0] == stored_images


def test_half_precision_changes_nothing_that_matters(digits: Digits, classifier: ClassifierExtractor) -> None:
    with torch.no_grad():
        train, test = (classifier(stored(digits.split(name)))[0] for name in ("train", "test"))
    exact = nearest(test, train, 1, CPU)
    half = nearest(test.half(), train.half(), 1, CPU)
    torch.testing.assert_close(half[0], exact[0], rtol=0.01, atol=1e-3)
    assert float((half[1] == exact[1]).float().mean()) > 0.99


def test_data_without_test_images_get_the_picture_alone(
    make_digits: Callable[..., Digits], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_digits()
    images = stored(data.split("test"))
    del data.loaded.splits["test"]
    metric, picture = measure(tmp_path), tmp_path / "p.png"
    for _ in range(2):  # the second reads the cache
        with caplog.at_level(logging.WARNING):
            assert metric.evaluate(repeat(images), data, Pixels(), CPU, picture) == {}
        assert "no test split" in caplog.text
        assert "made anew" not in caplog.text
        with Image.open(picture) as drawn:
            assert drawn.size[0] > 500
        picture.unlink()


def test_picture_shows_the_samples_beside_what_they_copy(digits: Digits, tmp_path: Path) -> None:
    """Of copies every sample is shown again as its nearest training image."""
    metric = measure(tmp_path, shown=6, neighbours=2)
    metric.evaluate(repeat(stored(digits.split("train"))), digits, Pixels(), CPU, tmp_path / "p.png")
    picture = np.asarray(Image.open(tmp_path / "p.png"))
    top, side, line = 92, 96, 122  # of the samples, of an image, of a row
    for left in (32, 32 + 96 + 32 + 196 + 64):
        for row in range(3):
            rows = slice(top + row * line, top + row * line + side)
            sample, copy = picture[rows, left : left + side], picture[rows, left + side + 32 : left + 2 * side + 32]
            assert sample.std() > 50
            assert np.array_equal(sample, copy)
    assert (picture[:, :, 0] > picture[:, :, 1] + 100).any()  # their distances are red


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 40, 24), (3, 300, 200)])
def test_picture_holds_images_of_any_size(shape: tuple[int, ...]) -> None:
    row = Row(torch.zeros(shape).byte(), torch.zeros(3, *shape).byte(), [0.1, 0.2, 0.3])
    picture = neighbour_picture({"a": [row, row], "b": [row]}, None, "note")
    assert picture.dtype == torch.uint8
    assert picture.shape[0] == 3
    black = (picture == 0).all(dim=0)
    cell = float(black.sum()) / (3 * 4)
    height, width = shape[1:]
    assert 96 <= math.sqrt(cell * max(height, width) / min(height, width)) <= 161
    assert not black[:, -32:].any()
    assert not black[-32:].any()


def test_random_state_and_fingerprint(digits: Digits, tmp_path: Path) -> None:
    metric = measure(tmp_path)
    with pytest.raises(RuntimeError, match="evaluate"):
        metric.fingerprint()
    state = torch.get_rng_state()
    metric.evaluate(repeat(stored(digits.split("test"))), digits, Pixels(), CPU, tmp_path / "p.png")
    assert torch.equal(torch.get_rng_state(), state)
    made = metric.fingerprint()
    assert made["samples"] == 360
    assert made["train_count"] == len(digits.split("train"))
    assert made["extractor_weights"] == Pixels().weights_hash
    assert all(isinstance(value, str | int | float | bool) for value in made.values())


@pytest.mark.parametrize("scale", [1e9, 1e-12])
def test_features_that_half_precision_cannot_hold_are_refused(scale: float, digits: Digits, tmp_path: Path) -> None:
    draw = repeat(stored(digits.split("test")))
    with pytest.raises(UserError, match="half precision"):
        measure(tmp_path).evaluate(draw, digits, Pixels(scale), CPU, tmp_path / "p.png")


def test_what_cannot_be_measured_is_refused(digits: Digits, tmp_path: Path) -> None:
    broken = digits.spec.modality.decode(stored(digits.split("test"))).clone()
    broken[5] = math.nan
    with pytest.raises(UserError, match="not finite"):
        measure(tmp_path).evaluate(repeat(broken), digits, Pixels(), CPU, tmp_path / "p.png")
    with pytest.raises(UserError, match="neighbours=5000"):
        measure(tmp_path, neighbours=5000).evaluate(repeat(broken), digits, Pixels(), CPU, tmp_path / "p.png")
    for wrong in ({"count": 1}, {"neighbours": 0}, {"shown": 1}, {"shown": 500}, {"quantile": 0.0}, {"batch_size": 0}):
        with pytest.raises(UserError, match=f"memorisation.{next(iter(wrong))}="):
            measure(tmp_path, **wrong)


def test_config_builds_it() -> None:
    import yaml

    from adversaria.config.plain import conf_dir

    node = yaml.safe_load((conf_dir() / "memorisation" / "nearest.yaml").read_text())
    check(node, "memorisation")
    assert vars(construct(node, "memorisation")) == vars(Memorisation())
