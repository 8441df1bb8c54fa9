"""How many images and how large, from their headers alone."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data.images import survey as module
from adversaria.data.images.folder import ImageFolder
from adversaria.data.images.named import Digits


def photos(root: Path) -> Path:
    (root / "train").mkdir(parents=True)
    (root / "test").mkdir()
    for k in range(20):
        Image.fromarray(np.zeros((30 + k, 100, 3), np.uint8)).save(root / "train" / f"{k:02d}.jpg")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(root / "test" / "small.png")
    return root


def test_smaller_sides_of_the_training_images(tmp_path: Path, folder: Callable[..., ImageFolder]) -> None:
    root = photos(tmp_path / "photos")
    packed = tmp_path / "photos.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in root.rglob("*.*"):
            archive.write(file, file.relative_to(root))
    for place in (root, packed):
        found = folder(place).survey()
        assert found.count == 20
        assert found.sides.tolist() == list(range(30, 50))
        assert (found.side_of(1.0), found.side_of(0.9), found.side_of(0.5)) == (30, 31, 39)
        assert sum(found.sides >= found.side_of(0.9)) >= 18
    assert folder(root, limit=7).survey().count == 7


def test_nothing_is_decoded(
    tmp_path: Path, folder: Callable[..., ImageFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "photos")
    monkeypatch.setattr("adversaria.data.images.pixels.decode", None)
    (root / "train" / "00.jpg").write_bytes((root / "train" / "00.jpg").read_bytes()[:-20])  # its header is whole
    (root / "train" / "01.jpg").write_bytes(b"not an image")
    assert folder(root).survey().sides.tolist() == [30, *range(32, 50)]


def test_of_many_images_some_from_everywhere(
    tmp_path: Path, folder: Callable[..., ImageFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOKED_AT", 5)
    found = folder(photos(tmp_path / "photos")).survey()
    assert found.count == 20
    assert found.sides.tolist() == [30, 34, 39, 44, 49]


def test_bundled_data(digits: Callable[..., Digits]) -> None:
    found = digits().survey()
    assert (found.count, found.side_of(0.5)) == (len(digits().split("train")), 8)


def test_no_readable_image(tmp_path: Path, folder: Callable[..., ImageFolder]) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match="no readable image"):
        folder(tmp_path).survey()
