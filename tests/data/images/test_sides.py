"""Pairs and domains of one's own: what lies where, what belongs together, and what is refused."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data.images.sides import Domains, Pairs, TwoSides

SETTINGS: dict[str, Any] = {
    "name": "mine",
    "size": 8,
    "channels": None,
    "fit": "resize",
    "mirror": False,
    "batch_size": 2,
    "storage": "memory",
    "num_workers": 0,
    "limit": None,
    "seed": 0,
}


def write(path: Path, value: int, *, colour: bool = False, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if colour else (size[1], size[0])
    pixels = np.full(shape, value, np.uint8)
    if colour:
        pixels[..., 1] = 255 - value
    Image.fromarray(pixels).save(path)


def opened(kind: type[TwoSides], root: Path, cache: Path, **changes: Any) -> TwoSides:
    data = kind(**{**SETTINGS, "root": str(root), "cache_dir": str(cache), **changes})
    data.prepare()
    return data


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def values(batch: Any) -> tuple[list[int], list[int]]:
    """The first value of each answer and of each condition."""
    return batch.samples[:, 0, 0, 0].tolist(), batch.labels[:, 0, 0, 0].tolist()


@pytest.fixture
def by_name(tmp_path: Path) -> Path:
    """Grey pictures of A and coloured ones of B, of other sizes and endings."""
    for k in range(5):
        write(tmp_path / "mine" / "A" / f"{k}.png", 10 * k, size=(20, 12))
        write(tmp_path / "mine" / "B" / f"{k}.bmp", 10 * k + 5, colour=True, size=(9, 30))
    return tmp_path / "mine"


def test_pairs_by_name_have_channels_of_their_own(by_name: Path, kept: Path) -> None:
    data = opened(Pairs, by_name, kept)
    assert data.spec.shape == (3, 8, 8)
    assert data.spec.condition is not None
    assert data.spec.condition.shape == (1, 8, 8)
    assert (data.spec.num_classes, data.loaded.aligned) == (None, True)
    samples, given = values(data.batch("train", np.arange(5)))
    assert [b - a for a, b in zip(given, samples, strict=True)] == [5] * 5
    other = opened(Pairs, by_name, kept, direction="b_to_a")
    assert other.spec.shape == (1, 8, 8)
    assert values(other.batch("train", np.arange(5))) == (given, samples)


@pytest.mark.parametrize("storage", ["memory", "device", "disk", "files"])
def test_pairs_stay_together_in_training_whatever_the_storage(by_name: Path, kept: Path, storage: str) -> None:
    data = opened(Pairs, by_name, kept, storage=storage)
    batches = iter(data.loader(3, 0, 1, 4, torch.device("cpu")))
    for step in range(3, 7):
        batch, direct = next(batches), data.reals(step, 0, 1, 4)
        assert torch.equal(batch.samples, direct.samples)
        assert batch.labels is not None
        assert direct.labels is not None
        assert torch.equal(batch.labels, direct.labels)
        samples, given = values(batch)
        assert [b - a for a, b in zip(given, samples, strict=True)] == [5] * 4


def test_both_pictures_of_a_pair_are_mirrored_alike(tmp_path: Path, kept: Path) -> None:
    ramp = np.arange(8, dtype=np.uint8)[None].repeat(8, 0) * 20
    for side in "AB":
        (tmp_path / "mine" / side).mkdir(parents=True)
        for k in range(4):
            Image.fromarray(ramp).save(tmp_path / "mine" / side / f"{k}.png")
    data = opened(Pairs, tmp_path / "mine", kept, mirror=True)
    x, y = data.decode(data.batch("train", np.arange(64) % 4))
    assert y is not None
    assert torch.equal(x, y)
    assert 0 < int((x[:, 0, 0, 0] > 0).sum()) < 64


def test_pairs_side_by_side_with_a_test_split_in_an_archive(tmp_path: Path, kept: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for k in range(count):
            path = tmp_path / "facades" / split / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            both = np.concatenate([np.full((6, 7), 10 * k, np.uint8), np.full((6, 7), 10 * k + 5, np.uint8)], axis=1)
            Image.fromarray(both).save(path)
    with tarfile.open(tmp_path / "facades.tar", "w") as archive:
        archive.add(tmp_path / "facades", "facades")
    for root in (tmp_path / "facades", tmp_path / "facades.tar"):
        data = opened(Pairs, root, kept)
        assert {split: len(part) for split, part in data.loaded.splits.items()} == {"train": 3, "test": 2}
        samples, given = values(data.batch("train", np.arange(3)))
        assert (given, samples) == ([0, 10, 20], [5, 15, 25])
    assert data.held_out == "test"


def test_published_folders_and_domains_of_unequal_size(tmp_path: Path, kept: Path) -> None:
    root = tmp_path / "horse2zebra"
    for side, split, count in (("A", "train", 7), ("B", "train", 4), ("A", "test", 2), ("B", "test", 3)):
        for k in range(count):
            write(root / f"{split}{side}" / f"n{k}_{side}.png", 10 * k + (100 if side == "B" else 0))
    data = opened(Domains, root, kept)
    assert not data.loaded.aligned
    assert {split: len(part) for split, part in data.loaded.splits.items()} == {"train": 4, "test": 3}
    assert {split: len(part) for split, part in data.loaded.conditions.items()} == {"train": 7, "test": 2}
    batches = iter(data.loader(0, 0, 1, 4, torch.device("cpu")))
    seen: tuple[set[int], set[int]] = (set(), set())
    together = set()
    for _ in range(30):
        samples, given = values(next(batches))
        seen[0].update(samples)
        seen[1].update(given)
        together |= set(zip(samples, given, strict=True))
    assert seen == ({100, 110, 120, 130}, {0, 10, 20, 30, 40, 50, 60})
    assert len(together) > 20  # of 28: no picture keeps a partner
    with pytest.raises(UserError, match="has no partner"):
        opened(Pairs, root, kept)


def test_what_cannot_be_told_is_said_in_a_sentence(by_name: Path, kept: Path, tmp_path: Path) -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: opened(Domains, tmp_path / "nothing", kept), "does not exist"),
        (lambda: opened(Pairs, by_name, kept, direction="up"), "choose a_to_b or b_to_a"),
        (lambda: Pairs(**SETTINGS, cache_dir=None).prepare(), r"data\.root is null"),
    ]
    (tmp_path / "empty").mkdir()
    cases.append((lambda: opened(Pairs, tmp_path / "empty", kept), "holds no images"))
    write(tmp_path / "one" / "A" / "1.png", 3)
    cases.append((lambda: opened(Domains, tmp_path / "one", kept), "no pictures of domain B"))
    cases.append((lambda: opened(Pairs, tmp_path / "one", kept), "has no partner of the same name in B"))
    for make, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            make()
    (by_name / "B" / "3.bmp").write_bytes(b"BM no picture")
    with pytest.raises(UserError, match=r"cannot be read|more than 1%"):
        opened(Pairs, by_name, kept)
