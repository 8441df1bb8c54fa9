"""The standard data sets, from what a user may have of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from sklearn.datasets import load_digits

from adversaria.core.errors import UserError
from adversaria.data.images.named import CIFAR10, MNIST, CelebA, Digits, FashionMNIST
from adversaria.data.module import DataModule

CONF = Path(__file__).parents[3] / "conf" / "data"
MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_builds_its_data_module(path: Path):
    lines = path.read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    config = OmegaConf.merge({"seed": 1}, OmegaConf.load(path))
    data = instantiate(config.data, _convert_="all")
    assert isinstance(data, DataModule)
    assert (data.name, data.seed) == (path.stem, 1)
    assert config.trainer.max_steps > 0
    (override,) = config.defaults
    assert "override /metrics" in override


def test_digits_are_all_there_and_split_evenly(digits: Callable[..., Digits]):
    data = digits()
    train, test = data.split("train"), data.split("test")
    assert (len(train), len(test)) == (1433, 364)
    assert train.labels is not None
    assert test.labels is not None
    for label in range(10):
        total = (train.labels == label).sum() + (test.labels == label).sum()
        assert (test.labels == label).sum() == -(-total // 5)
    bunch = load_digits()
    stored = np.concatenate([train.samples, test.samples])[..., 0]
    assert sorted(row.tobytes() for row in np.rint(stored * (16 / 255)).astype(np.uint8)) == sorted(
        row.tobytes() for row in bunch.images.astype(np.uint8)
    )


def test_digits_take_no_root(common: dict[str, Any]):
    with pytest.raises(UserError, match="image_folder"):
        Digits(**common, name="digits", root="photos").prepare()


def mnist(common: dict[str, Any], root: Path | None, **options: Any) -> MNIST:
    return MNIST(**{**common, "name": "mnist", "root": root and str(root), "size": 32, "fit": "pad", **options})


def write_idx(root: Path, name: str = "MNIST", count: int = 20) -> None:
    """Real digits in MNIST's own layout."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    bunch = load_digits()
    images = np.kron(bunch.images[:count], np.ones((3, 3))).astype(np.uint8)
    images = np.pad(images * 15, ((0, 0), (2, 2), (2, 2)))
    for part in ("train", "t10k"):
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        targets = bunch.target[:count].astype(np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(np.array([0x801, count], ">i4").tobytes() + targets.tobytes())


@pytest.mark.parametrize("packed", [False, True])
def test_torchvisions_layout_is_read_from_a_folder_or_an_archive(tmp_path: Path, common: dict[str, Any], packed: bool):
    write_idx(tmp_path / "own")
    root = tmp_path / "own"
    if packed:
        root = tmp_path / "own.tar.gz"
        with tarfile.open(root, "w:gz") as archive:
            archive.add(tmp_path / "own", "some/where")
    data = mnist(common, root)
    data.prepare()
    assert (data.spec.shape, data.spec.num_classes) == ((1, 32, 32), 10)
    reference = torchvision.datasets.MNIST(tmp_path / "own")
    assert np.array_equal(data.split("train").samples[:, 2:-2, 2:-2, 0], reference.data.numpy())
    assert data.identity("train")["dataset"] == "mnist"
    assert not list((tmp_path / "cache").glob(".mnist-*/"))


def test_torchvisions_layout_that_does_not_fit_together_gives_a_sentence(tmp_path: Path, common: dict[str, Any]):
    write_idx(tmp_path / "cut")
    path = tmp_path / "cut/MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="damaged"):
        mnist(common, tmp_path / "cut").prepare()
    write_idx(tmp_path / "labels")
    path = tmp_path / "labels/MNIST/raw/train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x63")  # a digit called 99
    with pytest.raises(UserError, match="belong together"):
        mnist(common, tmp_path / "labels").prepare()


def test_another_set_of_the_same_layout_is_not_mistaken(tmp_path: Path, common: dict[str, Any]):
    write_idx(tmp_path / "own", "FashionMNIST")
    with tarfile.open(tmp_path / "own.tar", "w") as archive:
        archive.add(tmp_path / "own", ".")
    with pytest.raises(UserError, match=r"data\.download=true"):
        mnist(common, tmp_path / "own").prepare()
    with pytest.raises(UserError, match="neither images nor torchvision's files for mnist"):
        mnist(common, tmp_path / "own.tar").prepare()
    data = FashionMNIST(**{**common, "name": "fashion_mnist", "root": str(tmp_path / "own"), "size": 32, "fit": "pad"})
    data.prepare()
    assert data.class_names is not None
    assert data.class_names[-1] == "Ankle boot"


def test_class_folders_stand_in_for_a_named_set(tmp_path: Path, common: dict[str, Any], draw: Callable[..., None]):
    for label in range(10):
        draw(tmp_path / f"own/train/{label}/a.png", label)
    data = mnist(common, tmp_path / "own")
    data.prepare()
    assert data.class_counts == [1] * 10
    assert data.identity("train")["dataset"] == "mnist-png"


def test_what_is_missing_is_downloaded_and_failure_is_one_sentence(
    tmp_path: Path, common: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(UserError, match=r"data\.download=true"):
        mnist(common, None, download=False).prepare()
    with pytest.raises(UserError, match="does not exist"):
        mnist(common, tmp_path / "missing.tar.xz", download=True).prepare()

    def offline(self: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", offline)
    with pytest.raises(UserError, match=r"could not be downloaded to data/mnist .*no network.*data\.root"):
        mnist(common, None, download=True).prepare()
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda self: write_idx(Path(self.root)))
    data = mnist(common, None, download=True)
    data.prepare()
    assert (tmp_path / "data/mnist/MNIST/raw").is_dir()
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", offline)
    mnist(common, None, download=True).prepare()


def test_a_pickle_without_its_checksum_is_never_opened(tmp_path: Path, common: dict[str, Any]):
    batches = tmp_path / "own/cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in CIFAR10.files:
        (tmp_path / "own" / name).write_bytes(b"cos\nsystem\n(S'touch %s/run'\ntR." % str(tmp_path).encode())
    with pytest.raises(UserError, match="not the original"):
        CIFAR10(**common, name="cifar10", root=str(tmp_path / "own")).prepare()
    assert not (tmp_path / "run").exists()


def test_celeba_follows_its_partition_file(tmp_path: Path, common: dict[str, Any]):
    images = tmp_path / "own/celeba/img_align_celeba"
    images.mkdir(parents=True)
    for index in range(6):
        face = np.full((218, 178), 10 * index, np.uint8)
        face[:20] = face[-20:] = 255  # what the centre crop leaves out
        Image.fromarray(face).convert("RGB").save(images / f"{index:06}.png")
    (images.parent / "list_eval_partition.txt").write_text("".join(f"{i:06}.png {i % 3}\n" for i in range(6)))
    options = {**common, "name": "celeba", "root": str(tmp_path / "own"), "size": 64}
    data = CelebA(**options)
    data.prepare()
    assert data.spec.shape == (3, 64, 64)
    assert data.spec.num_classes is None
    assert data.split("train").samples[:, 32, 32, 0].tolist() == [0, 30]
    assert data.split("test").samples[:, 32, 32, 0].tolist() == [20, 50]
    assert data.split("train").samples.max() == 30
    assert "2 validation images" in data.description()
    (images / "000003.png").unlink()
    with pytest.raises(UserError, match="lacks 1 of the 6"):
        CelebA(**options).prepare()


def test_mnist_is_exact_from_its_archive(shared_data: Path, tmp_path: Path, common: dict[str, Any]):
    archive = shared_data / "mnist-idx.tar.xz"
    data = mnist(common, archive)
    data.prepare()
    assert data.class_counts == MNIST_COUNTS
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "extracted", filter="data")
    for which in ("train", "test"):
        reference = torchvision.datasets.MNIST(tmp_path / "extracted", train=which == "train")
        split = data.split(which)
        assert len(split) == {"train": 60_000, "test": 10_000}[which]
        assert np.array_equal(split.samples[:, 2:-2, 2:-2, 0], reference.data.numpy())
        assert np.array_equal(split.labels, reference.targets.numpy())


def cifar(common: dict[str, Any], root: Path) -> CIFAR10:
    return CIFAR10(**{**common, "name": "cifar10", "root": str(root), "size": 32, "channels": 3, "fit": "resize"})


def test_a_cut_of_the_cifar_archive(shared_data: Path, tmp_path: Path, common: dict[str, Any]):
    pixels: list[bytes] = []
    with (
        tarfile.open(shared_data / "cifar10-jpeg.tar.xz", "r|*") as tar,
        tarfile.open(tmp_path / "cut.tar.xz", "w:xz") as cut,
    ):
        for member in tar:
            if len(pixels) == 64:
                break
            if member.isreg():
                handle = tar.extractfile(member)
                assert handle is not None
                data = io.BytesIO(handle.read())
                cut.addfile(member, data)
                pixels.append(np.asarray(Image.open(data)).tobytes())
    cut_set = cifar(common, tmp_path / "cut.tar.xz")
    cut_set.prepare()
    assert [row.tobytes() for row in cut_set.split("train").samples] == pixels
    assert cut_set.identity("train")["dataset"] == "cifar10-jpeg"


@pytest.mark.slow
def test_all_of_cifar_from_its_archive(shared_data: Path, common: dict[str, Any]):
    data = cifar(common, shared_data / "cifar10-jpeg.tar.xz")
    data.prepare()
    assert data.class_names == CIFAR_CLASSES
    assert data.class_counts == [5000] * 10
    test = data.split("test")
    assert test.labels is not None
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert data.split("train").samples.shape == (50_000, 32, 32, 3)
    assert 110 < data.split("train").samples.mean() < 130
