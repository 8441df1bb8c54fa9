"""Images that are likely not what the user thinks are named, whatever the cause; good ones are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data.images.doubts import doubts
from adversaria.data.images.folder import ImageFolder
from adversaria.data.images.named import Digits
from adversaria.data.storage import Split

Make = Callable[..., ImageFolder]


def write(root: Path, bits: int, dtype: Any, ending: str) -> None:
    root.mkdir()
    for index in range(10):
        values = np.random.default_rng(index).integers(0, 2**bits, (16, 16)).astype(dtype)
        values[0, :2] = 0, 2**bits - 1
        Image.fromarray(values).save(root / f"{index}.{ending}")


@pytest.mark.parametrize("storage", ["auto", "files"])
@pytest.mark.parametrize(
    ("bits", "dtype", "ending"),
    [
        (12, np.uint16, "png"),
        (12, np.uint16, "tif"),
        (10, np.uint16, "png"),
        (14, np.uint16, "tif"),
        (8, np.int32, "tif"),
    ],
)
def test_fewer_bits_than_the_type_holds(tmp_path: Path, folder: Make, bits: int, dtype: Any, ending: str, storage: str):
    write(tmp_path / "photos", bits, dtype, ending)
    dark = folder(tmp_path / "photos", storage=storage)
    dark.prepare()
    assert f"set data.white={2**bits - 1}" in dark.description()
    bright = folder(tmp_path / "photos", white=2**bits - 1, storage=storage)
    bright.prepare()
    samples = np.asarray(bright.split("train").samples)
    assert (samples[:, 0, 0] == 0).all()
    assert (samples[:, 0, 1] == 255).all()
    assert "data.white" not in bright.description()


def test_all_sixteen_bits_and_a_white_of_eight_bits(tmp_path: Path, folder: Make):
    write(tmp_path / "deep", 16, np.uint16, "png")
    deep = folder(tmp_path / "deep")
    deep.prepare()
    assert "black" not in deep.description()
    write(tmp_path / "four", 4, np.uint8, "png")
    four = folder(tmp_path / "four")
    four.prepare()
    assert "set data.white=15" in four.description()
    bright = folder(tmp_path / "four", white=15)
    bright.prepare()
    assert bright.split("train").samples.max() == 255


def test_floating_point_values_need_a_white_and_no_nan(tmp_path: Path, folder: Make):
    (tmp_path / "floats").mkdir()
    for index in range(10):
        Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / f"floats/{index}.tif")
    with pytest.raises(UserError, match=r"set data\.white"):
        folder(tmp_path / "floats").prepare()
    data = folder(tmp_path / "floats", white=1)
    data.prepare()
    assert data.split("train").samples[0].ravel()[[0, -1]].tolist() == [0, 255]
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "floats/0.tif")
    with pytest.raises(UserError, match="NaN"):
        folder(tmp_path / "floats", white=1).prepare()


def test_copies_one_shade_and_one_class():
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1)).astype(np.uint8)
    labels = np.zeros(200, np.int64)
    labels[:2] = 1
    assert doubts(Split(noise, None), None) == []
    assert doubts(Split(noise, np.arange(200) % 2), ["a", "b"]) == []
    (copies,) = doubts(Split(noise[[0] * 150 + list(range(50))], None), None)
    assert "the same image" in copies
    (shade,) = doubts(Split(noise // 16 + 240, None), None)
    assert "between 240 and 255" in shade
    assert "data.white" not in shade
    (one,) = doubts(Split(noise, labels), ["big", "single"])
    assert one == "99.0% of the training images are of one class (big)"


def test_real_images_are_beyond_doubt(digits: Callable[..., Digits]):
    data = digits()
    assert doubts(data.split("train"), data.class_names) == []


@pytest.mark.parametrize("white", [0, -1, 2**31])
def test_an_impossible_white_is_refused(folder: Make, white: int):
    with pytest.raises(UserError, match=rf"data\.white={white}"):
        folder("x", white=white)
