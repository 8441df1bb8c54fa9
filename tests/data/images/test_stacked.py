"""Stacked MNIST: what its channels are, that it is always the same, and the same wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.data.images.named import MNIST
from adversaria.data.images.stacked import StackedMNIST, draw_stacks


@pytest.fixture
def stacked(class_folders: Path) -> Callable[..., StackedMNIST]:
    """``stacked(**options)``: stacks of sixty real digits, and for the test split of thirty; not yet prepared."""

    def make(**options: Any) -> StackedMNIST:
        fields: dict[str, Any] = {
            "name": "stacked_mnist",
            "root": str(class_folders),
            "download": False,
            "size": 32,
            "fit": "pad",
            "cache_dir": None,
            "count": 5000,
            "source_seed": 0,
            "batch_size": 8,
            "storage": "auto",
            "num_workers": 0,
            "seed": 0,
        }
        return StackedMNIST(**{**fields, **options})

    return make


def digits_of(root: Path, common: dict[str, Any]) -> MNIST:
    data = MNIST(**{**common, "name": "mnist", "root": str(root), "size": 32, "channels": 1, "fit": "pad"})
    data.prepare()
    return data


def test_every_channel_is_the_digit_that_was_drawn(
    stacked: Callable[..., StackedMNIST], class_folders: Path, common: dict[str, Any]
) -> None:
    data = stacked()
    data.prepare()
    assert (data.spec.shape, data.spec.num_classes, data.class_names) == ((3, 32, 32), None, None)
    digits = digits_of(class_folders, common)
    for number, (which, count, available) in enumerate((("train", 5000, 60), ("test", 500, 30))):
        split = data.split(which)
        drawn = draw_stacks(count, available, 0, split=number)
        assert split.samples.shape == (count, 32, 32, 3)
        for row in (0, 17, count - 1):
            for channel in range(3):
                expected = digits.split(which).samples[drawn[row, channel], :, :, 0]
                assert np.array_equal(split.samples[row, :, :, channel], expected)


def test_modes_are_as_frequent_as_chance_has_them() -> None:
    count, classes = 128_000, 10
    labels = np.arange(60_000) % classes
    drawn = labels[draw_stacks(count, len(labels), 0, split=0)]  # [count, 3]
    modes = np.bincount(drawn @ [100, 10, 1], minlength=1000)
    expected = count / 1000
    chi_squared = ((modes - expected) ** 2 / expected).sum()
    # Of 999 degrees of freedom: mean 999, standard deviation sqrt(2 * 999) = 44.7.
    assert abs(chi_squared - 999) < 4 * 44.7
    assert len(np.unique(draw_stacks(count, len(labels), 0, split=0))) > 0.99 * len(labels)


def test_the_same_stacks_every_time_and_others_for_another_draw(stacked: Callable[..., StackedMNIST]) -> None:
    first, again, run, drawn, fewer = (
        stacked(),
        stacked(cache_dir="elsewhere"),
        stacked(seed=5),
        stacked(source_seed=1),
        stacked(count=50),
    )
    for data in (first, again, run, drawn, fewer):
        data.prepare()
    identity = first.identity("train")
    assert identity == again.identity("train") == run.identity("train")
    assert np.array_equal(first.split("train").samples, again.split("train").samples)
    assert identity["content"] not in (drawn.identity("train")["content"], fewer.identity("train")["content"])
    assert (identity["dataset"], identity["count"], identity["channels"]) == ("stacked_mnist-png", 5000, 3)
    assert not np.array_equal(first.split("train").samples, drawn.split("train").samples)


@pytest.mark.parametrize("storage", ["device", "memory", "disk"])
def test_batches_are_the_same_wherever_the_stacks_lie(stacked: Callable[..., StackedMNIST], storage: str) -> None:
    data = stacked(storage=storage)
    data.prepare()
    batches = iter(data.loader(start=3, rank=0, world=1, count=8, device=torch.device("cpu")))
    for step in (3, 4):
        assert torch.equal(next(batches).samples, data.reals(step, 0, 1, 8).samples)


def test_without_test_digits_there_are_no_test_stacks(
    stacked: Callable[..., StackedMNIST], tmp_path: Path, draw: Callable[..., None]
) -> None:
    for label in range(3):
        draw(tmp_path / f"heap/{label}/a.png", 100 * label)
    data = stacked(root=str(tmp_path / "heap"), count=30)
    data.prepare()
    assert set(data.loaded.splits) == {"train"}
    assert data.identity("train")["dataset"] == "stacked_mnist-png"
    assert set(np.unique(data.split("train").samples[:, 13:19, 13:19])) == {0, 100, 200}


def test_survey_counts_stacks(stacked: Callable[..., StackedMNIST]) -> None:
    found = stacked(count=123).survey()
    assert (found.count, found.side_of(1.0)) == (123, 32)


def test_what_cannot_be_stacked_gives_a_sentence(stacked: Callable[..., StackedMNIST], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.count=9"):
        stacked(count=9)
    with pytest.raises(UserError, match="does not exist"):
        stacked(root=str(tmp_path / "missing.tar.xz")).prepare()
    with pytest.raises(UserError, match="larger than the 50 training samples"):
        stacked(count=50, batch_size=64).prepare()
