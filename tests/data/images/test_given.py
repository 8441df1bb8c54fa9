from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data.images.given import images_at

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def folder(path: Path, images: Any) -> Path:
    path.mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image).save(path / f"{k}.png")
    return path


@pytest.mark.parametrize("form", ["folder", "npz", "nameless npz", "npy", "channels first"])
def test_every_form_gives_the_same_images(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("images.npy" if form == "npy" else "images.npz")
    if form == "folder":
        path = folder(tmp_path / "images", IMAGES)
    elif form == "npy":
        np.save(path, IMAGES)
    elif form == "nameless npz":
        np.savez(path, IMAGES)
    else:
        np.savez(path, images=IMAGES.transpose(0, 3, 1, 2) if form == "channels first" else IMAGES)
    data = images_at(str(path), key="images", cache_dir=str(tmp_path / "cache"))
    assert data.spec.shape == (3, 8, 8)
    np.testing.assert_array_equal(data.split("train").samples, IMAGES)
    assert data.identity("train")["count"] == 6


def test_labels_of_a_file_are_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES[..., 0], labels=np.array([0, 1, 2, 0, 1, 2]))
    data = images_at(str(tmp_path / "x.npz"), key="images")
    assert data.spec.shape == (1, 8, 8)
    assert data.class_counts == [2, 2, 2]


def test_other_content_has_another_identity(tmp_path: Path) -> None:
    identities = []
    for name, images in (("a", IMAGES), ("b", IMAGES[::-1]), ("c", IMAGES)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "x.npz", images=images)
        identities.append(images_at(str(tmp_path / name / "x.npz"), key="images").identity("train"))
    assert identities[0] == identities[2] != identities[1]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.full((4, 8, 8, 3), np.nan)}, "NaN"),
        ({"images": np.zeros((4, 8, 8, 3))}, "float64"),
        ({"images": np.zeros((4, 8, 8, 2), np.uint8)}, r"\[4, 8, 8, 2\]"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, r"\[0, 8, 8, 3\]"),
        ({"pictures": IMAGES}, "named images"),
        ({"images": IMAGES, "labels": np.zeros(5, np.int64)}, "labels"),
        ({"images": IMAGES, "labels": np.zeros(6)}, "labels"),
    ],
)
def test_arrays_that_are_no_images_get_a_sentence(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=words) as error:
        images_at(str(tmp_path / "x.npz"), key="reference")
    assert str(error.value).startswith("reference=")


@pytest.mark.parametrize("name", ["gone.npz", "cut.npz", "objects.npy", "empty", "mixed", "gone"])
def test_bad_places_get_a_sentence_and_no_code_runs(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", images=IMAGES)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:300])
    np.save(tmp_path / "objects.npy", np.array([print], dtype=object), allow_pickle=True)
    (tmp_path / "empty").mkdir()
    folder(tmp_path / "mixed", [IMAGES[0], IMAGES[1, :4, :4]])
    with pytest.raises(UserError, match=name) as error:
        images_at(str(tmp_path / name), key="images", cache_dir=str(tmp_path / "cache"))
    assert "data.root" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": IMAGES, "labels": np.full(6, 10**12)}, "label 1000000000000"),
        ({"images": np.full((64, 16, 16, 1), np.nan, np.float32)}, "NaN"),
        ({"images": np.full((64, 16, 16, 1), 0.5, np.float16)}, "float16"),
        ({"images": np.array(["a", "b"])}, "values of type <U1"),
        ({"images": np.full((4, 8, 8, 1), 1j)}, "complex"),
    ],
)
def test_values_that_no_image_or_label_has_give_a_sentence(tmp_path: Path, arrays: dict[str, Any], sentence: str):
    np.savez(tmp_path / "given.npz", **arrays)
    with pytest.raises(UserError, match=rf"images=.*given\.npz.*{sentence}"):
        images_at(str(tmp_path / "given.npz"), key="images")


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("count", [10**9, 10**15])
def test_a_header_that_states_more_than_there_is_takes_no_memory(tmp_path: Path, ending: str, count: int):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (count, 8, 8, 1)})
    path = tmp_path / f"given.{ending}"
    if ending == "npy":
        path.write_bytes(header.getvalue() + b"0" * 64)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", header.getvalue() + b"0" * 64)
    with pytest.raises(UserError, match="damaged"):
        images_at(str(path), key="images")


def test_an_array_that_memory_cannot_hold_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez_compressed(tmp_path / "given.npz", images=IMAGES)
    monkeypatch.setattr("adversaria.data.images.given.memory_limit", lambda: IMAGES.nbytes)
    with pytest.raises(UserError, match="half of the memory"):
        images_at(str(tmp_path / "given.npz"), key="images")


def test_what_else_lies_in_the_file_is_not_read(tmp_path: Path):
    np.savez(tmp_path / "given.npz", images=IMAGES, other=np.array([{"an": "object"}], dtype=object))
    assert len(images_at(str(tmp_path / "given.npz"), key="images").split("train")) == len(IMAGES)


def test_black_arrays_are_doubted(tmp_path: Path):
    np.savez(tmp_path / "black.npz", images=np.tile(IMAGES // 64, (2, 1, 1, 1)))
    assert "one shade" in images_at(str(tmp_path / "black.npz"), key="images").description()
