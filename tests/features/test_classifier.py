from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adversaria import modalities
from adversaria.core.arrays import BadFile, content_hash, load_arrays
from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.data.images.named import Digits
from adversaria.data.storage import Split
from adversaria.features import ClassifierExtractor
from adversaria.features import classifier_extractor as extractor_module
from adversaria.features.classifier import ClassifierNetwork, from_arrays, to_arrays
from adversaria.features.classifier_training import Recipe, accuracy, crop_and_flip, train

TINY = Recipe(images=1, batch_size=32)


def committed(name: str) -> ClassifierNetwork:
    return from_arrays(*load_arrays(extractor_module.COMMITTED / f"{name}.npz"))


def mnist_test(folder: Path) -> Split:
    with tarfile.open(folder / "mnist-idx.tar.xz") as archive:
        raw = {
            name: archive.extractfile(f"MNIST/raw/t10k-{name}-ubyte").read() for name in ("images-idx3", "labels-idx1")
        }
    images = np.frombuffer(raw["images-idx3"], np.uint8, offset=16).reshape(-1, 28, 28, 1)
    labels = np.frombuffer(raw["labels-idx1"], np.uint8, offset=8).astype(np.int64)
    return Split(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))[::5], labels[::5])


def cifar_test(folder: Path) -> Split:
    with tarfile.open(folder / "cifar10-jpeg.tar.xz") as archive:
        files = {
            member.name: archive.extractfile(member).read()
            for member in archive
            if member.name.startswith("test/") and member.name.endswith("7.jpg")
        }
    classes = sorted({name.split("/")[1] for name in files})
    images = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files.values()]
    return Split(np.stack(images), np.array([classes.index(name.split("/")[1]) for name in files]))


def reported(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((extractor_module.COMMITTED / f"{name}.json").read_text())
    return report


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10"])
def test_reports_belong_to_the_weights(name: str) -> None:
    path = extractor_module.COMMITTED / f"{name}.npz"
    assert reported(name)["weights"] == content_hash(load_arrays(path)[0])
    assert path.stat().st_size < 4e6


@pytest.mark.parametrize(
    ("name", "least"),
    [("digits", 0.97), ("mnist", 0.994), ("cifar10", 0.87)],
)
def test_accuracy_is_what_is_asked(name: str, least: float) -> None:
    assert reported(name)["test_accuracy"] >= least


def test_accuracy_on_digits(digits: Digits) -> None:
    assert accuracy(committed("digits"), digits.split("test")) >= 0.97


def test_accuracy_on_mnist(shared_data: Path) -> None:
    split = mnist_test(shared_data)
    assert len(split) == 2000
    assert accuracy(committed("mnist"), split) >= 0.991


def test_accuracy_on_cifar10(shared_data: Path) -> None:
    split = cifar_test(shared_data)
    assert len(split) == 1000
    # five standard errors of a tenth of the test images
    assert accuracy(committed("cifar10"), split) == pytest.approx(reported("cifar10")["test_accuracy"], abs=0.05)


def test_training_is_a_function_of_its_seed_and_leaves_the_random_state(digits: Digits, device: torch.device) -> None:
    split = Split(digits.split("train").samples[:64], digits.split("train").labels[:64])
    state = torch.get_rng_state()
    once, again, other = (
        content_hash(to_arrays(train(split, 10, mirror=True, recipe=recipe, device=device))[0])
        for recipe in (TINY, TINY, replace(TINY, seed=1))
    )
    assert once == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_half_precision_is_what_is_hashed_and_kept() -> None:
    network = ClassifierNetwork(3, 5, 32).eval()
    arrays, about = to_arrays(network)
    back = from_arrays(arrays, about)
    assert all(array.dtype.kind != "f" or array.dtype == np.float16 for array in arrays.values())
    assert content_hash(to_arrays(back)[0]) == content_hash(arrays)
    assert {p.dtype for p in back.parameters()} == {torch.float32}
    assert not back.training


def test_arrays_of_another_network_are_refused() -> None:
    arrays, about = to_arrays(ClassifierNetwork(3, 5, 32))
    for wrong in ({**about, "num_classes": 6}, {}, {**about, "channels": "x"}):
        with pytest.raises(BadFile):
            from_arrays(arrays, wrong)


def test_native_size_is_not_resampled_and_constants_stay_constant() -> None:
    network = ClassifierNetwork(1, 2, 16)
    images = torch.arange(256).byte().view(1, 1, 16, 16)
    torch.testing.assert_close(network.resize(images), images.float() / 127.5 - 1)
    for size in (8, 16, 50):
        torch.testing.assert_close(
            network.resize(torch.full((2, 1, size, size), 200).byte()), torch.full((2, 1, 16, 16), 200 / 127.5 - 1)
        )
    stripes = torch.zeros(1, 1, 48, 48).byte()
    stripes[..., ::2] = 255  # finer than the native size can show: only antialiasing makes them grey
    assert float(network.resize(stripes).abs().max()) < 0.2


@pytest.mark.parametrize("mirror", [False, True])
def test_every_crop_is_a_shift_and_half_of_them_are_flipped_if_asked(mirror: bool) -> None:
    images = torch.rand(60, 2, 8, 8)
    cropped = crop_and_flip(images, mirror, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    flips, shifts = 0, set()
    for image, source in zip(cropped, padded, strict=True):
        windows = [source[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
        plain = {k for k, window in enumerate(windows) if torch.equal(image, window)}
        flipped = {k for k, window in enumerate(windows) if torch.equal(image, window.flip(2))}
        assert plain or flipped
        flips += bool(flipped)
        shifts |= plain | flipped
    assert len(shifts) == 9
    assert 15 < flips < 45 if mirror else flips == 0


def test_the_package_serves_its_own_data_sets_at_any_size(
    make_digits: Callable[..., Digits], device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractor_module, "train_on", None)  # nothing is trained
    for size in (16, 24):
        extractor = ClassifierExtractor()
        extractor.load(make_digits(size=size), device, tmp_path)
        features, logits = extractor(torch.zeros(3, 1, size, size).byte())
        assert features.shape == (3, extractor.feature_dim)
        assert logits.shape == (3, 10)
    assert not any(tmp_path.iterdir())


def test_other_data_train_their_own_once(
    make_digits: Callable[..., Digits],
    device: torch.device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(extractor_module, "Recipe", lambda: TINY)
    trainings: list[str] = []
    original = extractor_module.train_on
    monkeypatch.setattr(
        extractor_module, "train_on", lambda data, *a: trainings.append(data.name) or original(data, *a)
    )

    def load(**changes: object) -> str:
        extractor = ClassifierExtractor()
        extractor.load(make_digits(name="mine", limit=64, **changes), device, tmp_path)
        return extractor.weights_hash

    first = load()
    assert load() == first
    assert len(trainings) == 1
    load(mirror=True)  # trained otherwise
    assert len(trainings) == 2
    for path in tmp_path.glob("classifiers/*.npz"):
        path.write_bytes(path.read_bytes()[:5000])
    with caplog.at_level(logging.WARNING):
        assert load() == first
    assert len(trainings) == 3
    assert "made anew" in caplog.text


@pytest.mark.parametrize("num_classes", [None, 1])
def test_data_without_classes_are_refused(num_classes: int | None, device: torch.device, tmp_path: Path) -> None:
    data = SimpleNamespace(name="mine", spec=DataSpec((3, 32, 32), num_classes, modalities.Image()))
    with pytest.raises(UserError, match=r"data=mine .*metrics=inception"):
        ClassifierExtractor().load(data, device, tmp_path)


def test_named_weights_serve_images_without_labels(device: torch.device, tmp_path: Path) -> None:
    unlabelled: Any = SimpleNamespace(name="mine", spec=DataSpec((1, 28, 28), None, modalities.Image()))
    extractor = ClassifierExtractor(weights="mnist")
    extractor.load(unlabelled, device, tmp_path)
    assert not extractor.classifies_data  # its classes are not those of the data
    assert extractor.weights_hash == reported("mnist")["weights"]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("cifar100", "neither a file nor one of cifar10, digits, mnist"),
        ("cifar10", "images of 3 channels"),
        ("damaged.npz", "holds no classifier"),
    ],
)
def test_weights_that_do_not_suit_get_a_sentence(weights: str, words: str, device: torch.device, in_tmp: Path) -> None:
    Path("damaged.npz").write_bytes(b"x")
    unlabelled: Any = SimpleNamespace(name="mine", spec=DataSpec((1, 28, 28), None, modalities.Image()))
    with pytest.raises(UserError, match=words):
        ClassifierExtractor(weights=weights).load(unlabelled, device, in_tmp)
