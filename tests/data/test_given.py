from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.data.given import images_at
from adversaria.errors import UserError

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
