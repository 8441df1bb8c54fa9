"""The field's standard data sets, fetched through torchvision or read from what the user already has."""

from __future__ import annotations

import pkgutil
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adversaria.core.downloads import require_download
from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.data.archives.tree import ARCHIVE_ENDINGS, Tree, open_tree
from adversaria.data.cache.store import locked
from adversaria.data.images.folder import ImageData, Source
from adversaria.data.images.labels import layout_of
from adversaria.data.images.layout import Layout, image_names
from adversaria.data.images.pictures import Pictures, from_arrays, from_tree

_FETCH_AGAIN = "fetch the data set again"


class Digits(ImageData):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels and 17 grey levels; no download (``root`` is not used).

    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (the test part). A fixed fifth of each class
    is the test split: every fifth image of the class, from the first on.
    """

    def source(self) -> Source:
        """The arrays inside scikit-learn."""
        if self.root is not None:
            raise UserError(
                f"data.root={self.root} is given, but data=digits is bundled with scikit-learn: "
                f"leave data.root out, or choose data=image_folder for images of your own"
            )
        return Source(f"scikit-learn {version('scikit-learn')} digits", self._pictures)

    def _pictures(self) -> Pictures:
        from sklearn.datasets import load_digits  # slow to import, and not needed once cached

        bunch = load_digits()
        images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8]
        labels = bunch.target.astype(np.int64)
        within_class = np.zeros(len(labels), dtype=np.int64)
        for label in range(10):
            within_class[labels == label] = np.arange((labels == label).sum())
        test = within_class % 5 == 0
        splits = {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}
        return from_arrays(splits, [str(digit) for digit in range(10)])


class TorchvisionData(ImageData):
    """A data set of torchvision, whose own layout is recognised by `files`, in a folder or an archive.

    ``root`` (null: ``data/<name>``) may instead hold class folders or a flat heap of images. What is missing is
    downloaded there. Labels and pixels of the original come through torchvision, which checks CIFAR's checksums before
    it unpickles anything; nothing else is ever unpickled.

    Attributes:
        dataset: the name in ``torchvision.datasets``.
        files: what torchvision reads, relative to its root.
        digit_names: whether the classes are called 0, 1, 2, ... rather than as torchvision calls them.
    """

    dataset: str
    files: Sequence[str]
    digit_names: bool = False

    def source(self) -> Source:
        """torchvision's files or any images at ``root``, fetched if there is neither."""
        root = self.root or Path("data") / self.name
        if not root.is_file() and not _names_archive(root):
            self._fetch(root)
        tree = open_tree(root, self.cache_folder)
        return Source(f"{self.dataset} {tree.fingerprint()}", partial(self.pictures, tree))

    def pictures(self, tree: Tree) -> Pictures:
        """What ``tree`` holds: torchvision's files before any images."""
        names = tree.names()
        prefix = self._own_layout(names)
        if prefix is not None:
            return self._original(tree, prefix)
        if not image_names(names):
            raise UserError(
                f"data.root={tree.path} holds neither images nor torchvision's files for {self.name} "
                f"({self.files[0]}, ...): is it the right folder?"
            )
        return from_tree(tree, layout_of(tree, shown(tree.path)), self.size, self.white)

    def _own_layout(self, names: Sequence[str]) -> str | None:
        """The folders around torchvision's files (such as ``data/``), or None if the files are not all there."""
        present = set(names)
        for name in names:
            prefix = name.removesuffix(self.files[0])
            if (
                name != prefix
                and (not prefix or prefix.endswith("/"))
                and all(prefix + file in present for file in self.files)
            ):
                return prefix
        return None

    def _fetch(self, root: Path) -> None:
        """Downloads the data set to ``root`` unless something usable is there."""
        if all((root / file).is_file() for file in self.files):
            return
        if root.is_dir():
            names = open_tree(root).names()
            if self._own_layout(names) is not None or image_names(names):
                return
        if not self.download:
            raise UserError(f"data.root={root} has no data set: set data.download=true, or data.root to where it is")
        require_download(f"data={self.name}")
        try:
            root.mkdir(parents=True, exist_ok=True)
            with locked(root / ".download.lock"):
                self._download(root)
        except Exception as error:  # torchvision lets through what urllib, gdown, tarfile and the disk raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{self.name} could not be downloaded to {root} ({reason}): "
                f"try again, or set data.root to a folder or archive that holds it"
            ) from error

    def _download(self, root: Path) -> None:
        self._torchvision()(root, train=True, download=True)

    def _torchvision(self) -> Any:
        return pkgutil.resolve_name(f"torchvision.datasets:{self.dataset}")

    def _original(self, tree: Tree, prefix: str) -> Pictures:
        """torchvision's reading of its own files, staged in a folder that holds nothing else."""
        self.cache_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache_folder, prefix=f".{self.name}-") as stage:
            for file in tree.files({prefix + name for name in self.files}):
                target = Path(stage) / file.name.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
            try:
                parts = {split: self._torchvision()(stage, train=split == "train") for split in ("train", "test")}
            except Exception as error:  # a checksum's RuntimeError, or whatever parsing a damaged file raises
                raise UserError(
                    f"data.root={tree.path}: torchvision's files for {self.name} are damaged or not the original "
                    f"({' '.join(str(error).split())}): {_FETCH_AGAIN}"
                ) from error
        splits = {
            split: (np.asarray(part.data), np.asarray(part.targets, dtype=np.int64)) for split, part in parts.items()
        }
        classes = list(parts["train"].classes)
        for images, labels in splits.values():
            if len(images) != len(labels) or not len(labels) or not 0 <= labels.min() <= labels.max() < len(classes):
                raise UserError(
                    f"data.root={tree.path}: images and labels of {self.name} do not belong together: {_FETCH_AGAIN}"
                )
        return from_arrays(splits, [str(label) for label in range(len(classes))] if self.digit_names else classes)


class MNIST(TorchvisionData):
    """70,000 handwritten digits, 28x28 grey.

    LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition".
    """

    dataset = "MNIST"
    files = tuple(
        f"MNIST/raw/{part}-ubyte"
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    )
    digit_names = True


class FashionMNIST(TorchvisionData):
    """70,000 articles of clothing, 28x28 grey.

    Xiao et al. 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms".
    """

    dataset = "FashionMNIST"
    files = tuple(name.replace("MNIST", "FashionMNIST", 1) for name in MNIST.files)


class CIFAR10(TorchvisionData):
    """60,000 photographs of 10 classes, 32x32.

    Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """

    dataset = "CIFAR10"
    files = tuple(
        f"cifar-10-batches-py/{part}"
        for part in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
    )


class CIFAR100(TorchvisionData):
    """60,000 photographs of 100 classes, 32x32.

    Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """

    dataset = "CIFAR100"
    files = tuple(f"cifar-100-python/{part}" for part in ("train", "test", "meta"))


class CelebA(TorchvisionData):
    """202,599 faces, aligned and cropped to 178x218, without labels.

    Liu et al. 2015, "Deep Learning Face Attributes in the Wild".

    With the official partition file at hand, its 162,770 training and 19,962 test images are the splits and its
    validation images are left out; a bare ``img_align_celeba`` folder or .zip is all for training.
    """

    dataset = "CelebA"
    files = ("celeba/list_eval_partition.txt",)

    def pictures(self, tree: Tree) -> Pictures:
        """The aligned images, split as the partition file says if there is one."""
        names = tree.names()
        prefix = self._own_layout(names)
        if prefix is None:
            return super().pictures(tree)
        (partition,) = [file.read().decode() for file in tree.files({prefix + self.files[0]})]
        return from_tree(tree, _partitioned(names, partition, shown(tree.path)), self.size, self.white, original=True)

    def _download(self, root: Path) -> None:
        self._torchvision()(root, split="all", download=True)


def _partitioned(names: Sequence[str], partition: str, where: str) -> Layout:
    """The layout that CelebA's ``list_eval_partition.txt`` prescribes: lines of a file name and 0, 1 or 2."""
    part = {name: which for name, which, *_ in ([*line.split(), ""] for line in partition.splitlines() if line.strip())}
    paths = {name.rsplit("/", 1)[-1]: name for name in image_names(names)}
    missing = [name for name in part if name not in paths]
    if missing or not part:
        raise UserError(
            f"data.root={where} lacks {len(missing):,} of the {len(part):,} images of CelebA's partition file: "
            f"unpack img_align_celeba.zip (again) beside it"
        )
    train = [paths[name] for name, which in part.items() if which == "0"]
    test = [paths[name] for name, which in part.items() if which == "2"]
    notes = [f"{len(part) - len(train) - len(test):,} validation images of the official partition are left out"]
    return Layout([*train, *test], {"train": len(train), "test": len(test)}, None, None, notes)


def _names_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_ENDINGS)
