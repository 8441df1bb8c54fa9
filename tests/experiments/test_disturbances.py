from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from adversaria.core.arrays import load_arrays
from adversaria.data.images.named import Digits
from adversaria.evaluation.metrics.frechet import RunningGaussian, frechet_distance, symmetric_root
from adversaria.features.classifier import from_arrays
from adversaria.features.classifier_extractor import COMMITTED
from studies.disturbances.images import DISTURBANCES, drop_classes, gaussian_blur, gaussian_noise, swirl

LEVELS = range(4)
DATA_SETS = ["digits", "mnist", "cifar10"]
every = pytest.mark.parametrize("name", DISTURBANCES)


def photographs(n: int = 50, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    return torch.randint(256, (n, channels, height, width), generator=torch.Generator().manual_seed(1)).byte()


@every
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (3, 20, 36)])
def test_keeps_shape_and_type_and_level_zero_changes_nothing(name: str, shape: tuple[int, int, int]) -> None:
    images = photographs(4, *shape)
    before = images.clone()
    levels = [DISTURBANCES[name](images, level) for level in LEVELS]
    assert torch.equal(levels[0], before)
    assert torch.equal(images, before)
    assert all((level.shape, level.dtype) == (images.shape, torch.uint8) for level in levels)
    assert len({level.numpy().tobytes() for level in levels}) == len(LEVELS)


@every
def test_depends_on_the_seed_alone(name: str) -> None:
    images = photographs(4)
    state = torch.get_rng_state()
    one, again, other = (DISTURBANCES[name](images, 2, seed) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (name in ("gaussian_blur", "swirl"))
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_has_its_standard_deviation() -> None:
    grey = torch.full((20, 3, 32, 32), 0.5)
    noise = gaussian_noise(grey, 0.1, torch.Generator()) - grey
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.002)


def test_blur_keeps_constants_and_spreads_a_point_as_a_gaussian() -> None:
    flat = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
    assert torch.equal(DISTURBANCES["gaussian_blur"](flat, 3), flat)
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    spread = gaussian_blur(point, 2 / 33, torch.Generator())[0, 0]  # 2 pixels
    offsets = torch.arange(33) - 16
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    for axis in (0, 1):
        assert (spread.sum(axis) * offsets**2).sum() == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(("level", "side"), [(1, 8), (2, 16), (3, 24)])
def test_rectangles_are_black_as_large_as_said_and_within_the_image(level: int, side: int) -> None:
    white = torch.full((3000, 3, 32, 32), 255, dtype=torch.uint8)
    black = DISTURBANCES["black_rectangles"](white, level) == 0
    assert torch.equal(black.any(1), black.all(1))
    covered = black[:, 0].sum(dim=(1, 2))
    assert covered.min() >= side**2
    assert covered.max() <= 5 * side**2
    assert len(covered.unique()) > 10
    assert black[:, 0].any(0).all()  # every place is reached, the corners included


def test_swirl_turns_the_centre_and_leaves_the_rim() -> None:
    images = torch.zeros(1, 1, 65, 65)
    images[..., 32, 34] = 1  # right of the centre, by two pixels
    turned = swirl(images, torch.pi / 2 * float(torch.tensor(2 / (65 / 4)).exp()), torch.Generator())[0, 0]
    assert divmod(int(turned.argmax()), 65) == (30, 32)  # a quarter turn there: above it
    rings = torch.hypot(*torch.meshgrid(*[torch.arange(65) - 32.0] * 2, indexing="ij"))[None, None] / 50
    within = rings < 30 / 50
    torch.testing.assert_close(swirl(rings, 4.0, torch.Generator())[within], rings[within], rtol=0, atol=0.01)
    ramp = torch.arange(65.0).expand(1, 1, 65, 65) / 65
    change = (swirl(ramp, 1.0, torch.Generator()) - ramp).abs()[0, 0]
    assert change[32, :8].max() < 0.05 < change[24:41, 24:41].max()


@pytest.mark.parametrize(("level", "share"), [(1, 0.1), (2, 0.2), (3, 0.3)])
def test_salt_and_pepper_come_in_equal_shares(level: int, share: float) -> None:
    grey = torch.full((200, 3, 32, 32), 100, dtype=torch.uint8)
    disturbed = DISTURBANCES["salt_and_pepper"](grey, level)
    assert torch.equal(disturbed[:, 0], disturbed[:, 2])
    for value, expected in ((0, share / 2), (255, share / 2), (100, 1 - share)):
        assert (disturbed == value).double().mean() == pytest.approx(expected, abs=0.005)


def test_dropped_classes_are_gone_and_the_others_whole() -> None:
    labels = torch.tensor([5, 1, 9, 5, 1, 2])
    images = labels[:, None, None, None].byte()
    assert drop_classes(images, labels, 0).flatten().tolist() == [5, 1, 9, 5, 1, 2]
    assert drop_classes(images, labels, 2).flatten().tolist() == [1, 1, 2]


class Labelled(NamedTuple):
    """Images ``[N, C, H, W]`` uint8 and labels ``[N]``."""

    images: Tensor
    labels: Tensor

    def spread(self, count: int) -> Labelled:
        """``count`` of them, evenly over their order."""
        rows = torch.linspace(0, len(self.images) - 1, min(count, len(self.images))).round().long()
        return Labelled(self.images[rows], self.labels[rows])


Splits = Callable[[str, bool], tuple[Labelled, Labelled]]
FEW, MANY = (800, 500), (10_000, 10_000)  # training and test images; digits has 1,437 and 360


def mnist(folder: Path) -> Iterator[Labelled]:
    with tarfile.open(folder / "mnist-idx.tar.xz") as archive:
        for part in ("train", "t10k"):
            images, labels = (
                archive.extractfile(f"MNIST/raw/{part}-{name}-ubyte").read() for name in ("images-idx3", "labels-idx1")
            )
            square = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
            padded = torch.from_numpy(np.pad(square, ((0, 0), (0, 0), (2, 2), (2, 2))))
            yield Labelled(padded, torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)))


def cifar10(folder: Path, counts: tuple[int, int]) -> Iterator[Labelled]:
    with tarfile.open(folder / "cifar10-jpeg.tar.xz", "r|*") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    classes = sorted({name.split("/")[1] for name in files})
    for part, count in zip(("train", "test"), counts, strict=True):
        names = sorted(name for name in files if name.startswith(f"{part}/"))
        names = names[:: len(names) // count][:count]
        images = np.stack([np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB")) for name in names])
        labels = torch.tensor([classes.index(name.split("/")[1]) for name in names])
        yield Labelled(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


@pytest.fixture(scope="session")
def splits(digits: Digits, request: pytest.FixtureRequest) -> Splits:
    """``splits("mnist", many=False)``: training and test images of a data set."""

    @cache
    def read(name: str, many: bool) -> tuple[Labelled, Labelled]:
        counts = MANY if many else FEW
        if name == "digits":
            parts = iter([Labelled(*digits.split(split).batch(slice(None))) for split in ("train", "test")])
        else:
            folder = request.getfixturevalue("shared_data")
            parts = mnist(folder) if name == "mnist" else cifar10(folder, counts)
        train, test = (part.spread(count) for part, count in zip(parts, counts, strict=True))
        return train, test

    return read


@cache
def classifier(name: str) -> Callable[[Tensor], Tensor]:
    network = from_arrays(*load_arrays(COMMITTED / f"{name}.npz"))

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        return torch.cat([network(part)[0] for part in images.split(250)])

    return features


def distance_to(features: Tensor) -> Callable[[Tensor], float]:
    """The Fréchet distance of other features from these."""
    gaussian = RunningGaussian(features.shape[1])
    gaussian.update(features)
    root = symmetric_root(gaussian.covariance)
    return lambda other: frechet_distance(other, gaussian.mean, root)


@cache
def from_training_images(data: str, splits: Splits, many: bool) -> Callable[[Tensor], float]:
    return distance_to(classifier(data)(splits(data, many)[0].images))


def check_rises(distances: list[float]) -> None:
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert distances[-1] > 5 * distances[0]


def check_levels(name: str, data: str, splits: Splits, many: bool, count: int) -> None:
    images = splits(data, many)[1].spread(count).images
    distance, features = from_training_images(data, splits, many), classifier(data)
    check_rises([distance(features(DISTURBANCES[name](images, level))) for level in LEVELS])


@pytest.mark.parametrize("data", DATA_SETS)
@every
def test_the_frechet_distance_rises_with_every_level(name: str, data: str, splits: Splits) -> None:
    check_levels(name, data, splits, many=False, count=200)


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA_SETS[1:])
@every
def test_the_frechet_distance_rises_with_every_level_on_many_images(name: str, data: str, splits: Splits) -> None:
    check_levels(name, data, splits, many=True, count=2000)


@pytest.mark.parametrize("data", DATA_SETS)
def test_the_frechet_distance_rises_with_every_dropped_class(data: str, splits: Splits) -> None:
    test = splits(data, False)[1]
    distance, features = from_training_images(data, splits, False), classifier(data)(test.images)
    kept = [drop_classes(features, test.labels, dropped) for dropped in (0, 2, 4, 6)]
    count = len(kept[-1])  # as many of each, for the distance falls with the number of images
    check_rises([distance(some[torch.linspace(0, len(some) - 1, count).long()]) for some in kept])


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA_SETS[1:])
def test_other_real_images_are_far_closer_than_slightly_noisy_ones(data: str, splits: Splits) -> None:
    test, features = splits(data, True)[1].images, classifier(data)
    real, noisy = features(test), features(DISTURBANCES["gaussian_noise"](test, 1))  # sigma 0.1
    assert from_training_images(data, splits, True)(real) < 0.05 * distance_to(real)(noisy)
