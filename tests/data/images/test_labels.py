"""Folders and archives as StyleGAN's tools write them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data.images.folder import ImageFolder
from adversaria.data.images.named import MNIST, Digits


def write_zip(path: Path, images: np.ndarray, content: object, folder: str = "") -> Path:
    """Stored PNG files in numbered folders of 100 (of 1,000 there), and what ``content`` makes of their names."""
    names = [f"{k // 100:05d}/img{k:08d}.png" for k in range(len(images))]
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in zip(names, images, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "png", compress_level=0, optimize=False)
            archive.writestr(folder + name, buffer.getvalue())
        text = content(names) if callable(content) else content
        archive.writestr(f"{folder}dataset.json", text if isinstance(text, str) else json.dumps(text))
    return path


def labelled(labels: np.ndarray) -> Callable[[list[str]], Any]:
    return lambda names: {"labels": [[name, int(label)] for name, label in zip(names, labels, strict=True)]}


@pytest.fixture
def some(tmp_path: Path) -> Callable[..., Path]:
    """``some(content)``: a zip of 120 images whose pixels are their number, with that ``dataset.json``."""
    images = np.broadcast_to(np.arange(120, dtype=np.uint8)[:, None, None], (120, 4, 4))
    return lambda content, folder="": write_zip(tmp_path / "some.zip", images, content, folder)


def test_labels_of_real_digits(
    tmp_path: Path, folder: Callable[..., ImageFolder], digits: Callable[..., Digits]
) -> None:
    train = digits().split("train")
    assert train.labels is not None
    path = write_zip(tmp_path / "digits.zip", train.samples[..., 0], labelled(train.labels))
    data = folder(path)
    data.prepare()
    assert data.class_names == [str(k) for k in range(10)]
    assert np.array_equal(data.split("train").samples, train.samples)
    assert data.split("train").labels is not None
    assert np.array_equal(data.split("train").labels, train.labels)
    assert (data.survey().count, data.survey().side_of(1)) == (len(train), 8)


def test_labels_of_real_mnist(
    tmp_path: Path, folder: Callable[..., ImageFolder], common: dict[str, Any], shared_data: Path
) -> None:
    options = {"name": "mnist", "root": str(shared_data / "mnist-idx.tar.xz"), "limit": 500}
    mnist = MNIST(**{**common, **options})
    mnist.prepare()
    train = mnist.split("train")
    assert train.labels is not None
    data = folder(write_zip(tmp_path / "mnist.zip", train.samples[..., 0], labelled(train.labels)))
    data.prepare()
    assert np.array_equal(data.split("train").samples, train.samples)
    assert np.array_equal(np.asarray(data.split("train").labels), train.labels)
    assert data.survey().side_of(1) == 28


@pytest.mark.parametrize("ending", ["", ".tar"])
def test_unpacked_and_packed_otherwise_it_is_the_same(
    tmp_path: Path, folder: Callable[..., ImageFolder], some: Callable[..., Path], ending: str
) -> None:
    root = tmp_path / "unpacked"
    zipfile.ZipFile(some(labelled(np.arange(120) % 3), "outer/")).extractall(root)
    if ending:
        with tarfile.open(tmp_path / "packed.tar", "w") as archive:
            archive.add(root, ".")
        root = tmp_path / "packed.tar"
    data = folder(root)
    data.prepare()
    assert np.asarray(data.split("train").labels).tolist() == [k % 3 for k in range(120)]
    assert data.split("train").samples[:, 0, 0, 0].tolist() == list(range(120))
    assert data.survey().count == 120


def test_without_labels_the_numbered_folders_are_no_classes(
    folder: Callable[..., ImageFolder], some: Callable[..., Path]
) -> None:
    data = folder(some({"labels": None}))
    data.prepare()
    assert (data.class_names, data.split("train").labels) == (None, None)


def test_a_file_of_that_name_about_something_else_is_passed_over(
    folder: Callable[..., ImageFolder], some: Callable[..., Path]
) -> None:
    data = folder(some({"title": "my pictures"}))
    data.prepare()
    assert data.class_names == ["00000", "00001"]


def test_windows_names_and_labels_of_absent_images(
    folder: Callable[..., ImageFolder], some: Callable[..., Path]
) -> None:
    def content(names: list[str]) -> object:
        return {"labels": [["gone.png", 9], *[[name.replace("/", "\\"), 2] for name in names]]}

    data = folder(some(content))
    data.prepare()
    assert data.class_names == ["0", "1", "2"]
    assert any("1 labels" in note for note in data.loaded.notes)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ({"labels": []}, "no label for 00000/img00000000.png"),
        (lambda names: {"labels": [[name, 1] for name in names[1:]]}, "no label for 00000/img00000000.png"),
        (lambda names: {"labels": [[name, -1] for name in names]}, "has the label"),
        (lambda names: {"labels": [[name, 10**30] for name in names]}, "has the label"),
        (lambda names: {"labels": [[name, [0.0, 1.0]] for name in names]}, "has the label"),
        (lambda names: {"labels": [[name, True] for name in names]}, "has the label"),
        ({"labels": 3}, "has the label"),
        ({"labels": {"00000/img00000000.png": 3}}, "has the label"),
    ],
    ids=["cut", "deep", "empty", "lacking", "negative", "huge", "vector", "boolean", "number", "mapping"],
)
def test_what_cannot_be_used_gives_a_sentence(
    folder: Callable[..., ImageFolder], some: Callable[..., Path], content: object, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        folder(some(content)).prepare()


def test_hostile_zips_are_refused_as_ever(
    tmp_path: Path, folder: Callable[..., ImageFolder], some: Callable[..., Path]
) -> None:
    path = some({"labels": None})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil.png", b"x")
    with pytest.raises(UserError, match="unsafe entry"):
        folder(path).prepare()
    with pytest.raises(UserError, match="unsafe entry"):
        folder(path).survey()
    assert not (tmp_path.parent / "evil.png").exists()


def test_a_swollen_file_of_labels_is_not_read(
    tmp_path: Path, folder: Callable[..., ImageFolder], some: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adversaria.data.archives.tree._LARGEST_FILE", 2**20)
    path = tmp_path / "swollen.zip"
    with zipfile.ZipFile(some({"labels": None})) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            data = b" " * 2**22 if name == "dataset.json" else source.read(name)
            target.writestr(name, data)
    with pytest.raises(UserError, match=r"dataset\.json.*larger than"):
        folder(path).prepare()
