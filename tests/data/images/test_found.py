"""Images are found by their ending, or by their first bytes where that says nothing."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adversaria.data.archives.tree import open_tree
from adversaria.data.images.folder import ImageFolder
from adversaria.data.images.found import find_images

FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000"]


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, format=kind)
    return file.getvalue()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    root = tmp_path / "mixed"
    root.mkdir()
    for kind in FORMATS:
        (root / f"without_{kind}").write_bytes(picture(kind))
        (root / f"wrong_{kind}.dat").write_bytes(picture(kind))
    (root / "right.png").write_bytes(picture("JPEG"))
    for index in range(3):
        (root / f"phone{index}.heic").write_bytes(b"0")
    (root / "README").write_bytes(b"no image")
    return root


@pytest.mark.parametrize("pack", ["folder", "tar", "tar.gz", "zip"])
def test_images_without_an_ending_or_with_a_wrong_one_are_found(mixed: Path, tmp_path: Path, pack: str):
    root = mixed
    if pack == "zip":
        root = tmp_path / "mixed.zip"
        with zipfile.ZipFile(root, "w") as archive:
            for file in mixed.iterdir():
                archive.write(file, file.name)
    elif pack != "folder":
        root = tmp_path / f"mixed.{pack}"
        with tarfile.open(root, f"w:{pack[4:]}") as tar:
            tar.add(mixed, "mixed")
    found = find_images(open_tree(root))
    assert len(found.images) == 2 * len(FORMATS) + 1
    assert found.left_out == {".heic": 3, "": 1}
    assert found.notes() == ["4 files left out, no images (.heic 3, no ending 1)"]


def test_they_are_decoded_and_the_others_are_spoken_of(mixed: Path, folder: Callable[..., ImageFolder]):
    data = folder(mixed)
    data.prepare()
    assert len(data.split("train")) == 2 * len(FORMATS) + 1
    assert "4 files left out" in data.description()


def test_of_an_ending_that_is_none_of_an_image_few_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for index in range(200):
        (tmp_path / f"{index}.json").write_text("{}")
    opened: list[Path] = []
    original = Path.open

    def counted(self: Path, *args: str) -> object:
        opened.append(self)
        return original(self, *args)

    monkeypatch.setattr(Path, "open", counted)
    assert find_images(open_tree(tmp_path)).images == []
    assert len(opened) < 20
