"""Modes of stacked digits: what is counted, in closed forms, and on real digits."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import Batch
from adversaria.data.images.stacked import StackedMNIST
from adversaria.evaluation.metrics import StackedModes
from adversaria.evaluation.metrics import stacked_modes as module
from adversaria.evaluation.metrics.stacked_modes import coverage, name_modes


class ByBrightness(nn.Module):
    """Says that a picture of brightness 20 k shows k, by a margin that makes it ``sure``."""

    num_classes, size, channels = 10, 32, 1

    def __init__(self, sure: float = 0.9) -> None:
        super().__init__()
        self.margin = math.log(sure / ((1 - sure) / 9))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        digit = images[:, 0, 0, 0].long() // 20
        return torch.zeros(len(images), 1), self.margin * nn.functional.one_hot(digit, 10).float()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        return {"scale": self.scale.data}


def bright(modes: Tensor) -> Tensor:
    """Images whose channels have the digits of ``modes [N]`` for brightness."""
    digits = torch.stack([modes // 100, modes // 10 % 10, modes % 10], dim=1)  # [N, 3]
    return (20 * digits).to(torch.uint8)[:, :, None, None].expand(-1, -1, 32, 32).contiguous()


@pytest.fixture
def data(tmp_path: Path) -> StackedMNIST:
    """Stacks of ten images, each of the brightness of its digit."""
    from PIL import Image

    for label in range(10):
        path = tmp_path / f"digits/{label}/a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((32, 32), 20 * label, np.uint8)).save(path)
    return make_data(str(tmp_path / "digits"), str(tmp_path / "cache"), 1000)


def make_data(root: str, cache_dir: str, count: int) -> StackedMNIST:
    data = StackedMNIST(
        name="stacked_mnist",
        root=root,
        download=False,
        size=32,
        fit="pad",
        cache_dir=cache_dir,
        count=count,
        source_seed=0,
        batch_size=8,
        storage="memory",
        num_workers=0,
        seed=0,
    )
    data.prepare()
    return data


@pytest.fixture
def metrics(data: StackedMNIST, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> Callable[[int], StackedModes]:
    """``metrics(count)``: prepared, with a classifier that knows brightness."""
    monkeypatch.setattr(module, "committed", lambda name: ByBrightness() if name == "mnist" else None)

    def make(count: int) -> StackedModes:
        made = StackedModes(count=count, batch_size=64)
        made.prepare(data, device)
        return made

    return make


def test_the_channels_are_the_digits_of_a_mode() -> None:
    modes = torch.tensor([0, 7, 407, 999, 120])
    named = name_modes(ByBrightness(sure=0.8), bright(modes))
    assert named[:, 0].tolist() == modes.tolist()
    assert named[:, 1].tolist() == pytest.approx([0.8] * 5)


@pytest.mark.parametrize("covered", [1, 10, 500, 1000])
def test_kl_of_equally_frequent_modes_is_the_log_of_the_share_that_is_covered(
    metrics: Callable[[int], StackedModes], device: torch.device, covered: int
) -> None:
    modes = torch.arange(2000) % covered
    scores = metrics(2000).evaluate(lambda start, stop: Batch(bright(modes.repeat(2)[start:stop]), None), device)
    assert scores == {
        "modes_covered": covered,
        "mode_kl": pytest.approx(math.log(1000 / covered), abs=1e-9),
        "mode_confidence": pytest.approx(0.9, abs=1e-6),
    }


def test_kl_is_the_reverse_one() -> None:
    modes = torch.tensor([0, 0, 0, 1])
    assert coverage(modes, 4) == (2, pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1)))


def test_equal_modes_have_the_kl_of_chance() -> None:
    # 2 N KL is chi-squared of K - 1 degrees of freedom (Wilks): its mean K - 1, its variance 2 (K - 1).
    count = 26_000
    covered, divergence = coverage(torch.randint(1000, (count,), generator=torch.Generator().manual_seed(0)), 1000)
    assert covered == 1000
    assert divergence == pytest.approx(999 / (2 * count), abs=4 * math.sqrt(2 * 999) / (2 * count))


def test_floating_point_samples_are_named_as_their_8_bit_images(
    metrics: Callable[[int], StackedModes], data: StackedMNIST, device: torch.device
) -> None:
    modes = torch.arange(128) * 7
    exact = metrics(128).evaluate(lambda start, stop: Batch(bright(modes[start:stop]), None), device)
    floats = data.spec.modality.decode(bright(modes))
    assert metrics(128).evaluate(lambda start, stop: Batch(floats[start:stop], None), device) == exact


def test_samples_that_are_not_finite_give_nan_and_one_warning(
    metrics: Callable[[int], StackedModes], device: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    def draw(start: int, stop: int) -> Batch:
        return Batch(torch.full((stop - start, 3, 32, 32), math.nan), None)

    made = metrics(100)
    with caplog.at_level(logging.WARNING):
        scores = made.evaluate(draw, device)
    assert made.monitor in scores
    assert all(math.isnan(value) for value in scores.values())
    assert len(caplog.records) == 1


def test_fingerprint_tells_counts_and_data_apart(
    metrics: Callable[[int], StackedModes], tmp_path: Path, device: torch.device
) -> None:
    first, fewer = metrics(128), metrics(64)
    other = StackedModes(count=128)
    other.prepare(make_data(str(tmp_path / "digits"), str(tmp_path / "cache"), 500), device)
    prints = [made.fingerprint() for made in (first, fewer, other)]
    assert prints[0] != prints[1]
    assert prints[0] != prints[2]
    assert (prints[0]["fakes"], prints[0]["mode_reference"]) == (128, "uniform")


def test_data_that_are_not_stacked_are_refused(digits: object, device: torch.device) -> None:
    with pytest.raises(UserError, match=r"stacked_mnist.*data=digits"):
        StackedModes().prepare(digits, device)
    with pytest.raises(UserError, match=r"metrics\.batch_size=100"):
        StackedModes(batch_size=100)
    with pytest.raises(UserError, match=r"metrics\.count=0"):
        StackedModes(count=0)


@pytest.mark.slow
def test_real_stacks_cover_all_modes(shared_data: Path, tmp_path: Path, device: torch.device) -> None:
    data = make_data(str(shared_data / "mnist-idx.tar.xz"), str(tmp_path), 26_000)
    made = StackedModes(count=6400)
    made.prepare(data, device)
    scores = made.evaluate(lambda start, stop: data.split("train").batch(slice(start, stop)), device)
    # KL of the classes of MNIST from equal ones, times three channels, and that of chance.
    frequencies = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 60_000
    expected = 3 * float((frequencies * np.log(10 * frequencies)).sum()) + 999 / (2 * 6400)
    assert scores["modes_covered"] > 980  # of 1,000 (1 - exp(-6.4)) = 998 in the mean
    assert scores["mode_kl"] == pytest.approx(expected, abs=5 * math.sqrt(2 * 999) / (2 * 6400))
    assert scores["mode_confidence"] > 0.99


def test_single_real_mode_is_found_by_the_committed_classifier(
    shared_data: Path, tmp_path: Path, device: torch.device
) -> None:
    data = make_data(str(shared_data / "mnist-idx.tar.xz"), str(tmp_path), 64)
    made = StackedModes(count=64)
    made.prepare(data, device)
    row = data.split("train").batch([5]).samples
    scores = made.evaluate(lambda start, stop: Batch(row.expand(stop - start, -1, -1, -1), None), device)
    assert scores["modes_covered"] == 1
    assert scores["mode_kl"] == pytest.approx(math.log(1000))
