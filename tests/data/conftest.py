from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.data.images.folder import ImageFolder
from adversaria.data.images.named import Digits

COMMON: dict[str, Any] = {
    "size": None,
    "channels": None,
    "fit": "crop",
    "mirror": False,
    "batch_size": 1,
    "storage": "auto",
    "num_workers": 0,
    "limit": None,
    "seed": 0,
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVERSARIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def common() -> dict[str, Any]:
    """Keyword arguments that every image data set needs, but ``name`` and ``root``."""
    return {**COMMON, "cache_dir": None}


@pytest.fixture
def folder(common: dict[str, Any]) -> Callable[..., ImageFolder]:
    """``folder(root, **options)``: an image folder, not yet prepared."""

    def make(root: Path | str | None, **options: Any) -> ImageFolder:
        return ImageFolder(**{**common, "name": "photos", "root": None if root is None else str(root), **options})

    return make


@pytest.fixture
def digits(common: dict[str, Any]) -> Callable[..., Digits]:
    """``digits(**options)``: scikit-learn's digits at 8x8, prepared."""

    def make(**options: Any) -> Digits:
        module = Digits(**{**common, "name": "digits", "size": 8, "channels": 1, "fit": "resize", **options})
        module.prepare()
        return module

    return make


def grey(value: int, width: int = 6, height: int = 6) -> Image.Image:
    return Image.fromarray(np.full((height, width), value, np.uint8))


@pytest.fixture
def draw() -> Callable[[Path, int], None]:
    """``draw(path, value)``: a 6x6 grey PNG of one value at ``path``, with the folders above it."""

    def save(path: Path, value: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        grey(value).save(path)

    return save
