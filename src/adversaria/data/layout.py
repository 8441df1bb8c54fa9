"""What the names of image files say: which split and which class each one belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from adversaria.data.images import extensions
from adversaria.errors import UserError

_TRAIN = "train"
_TEST = ("test", "val", "valid", "validation")  # the first that is there is the test split


@dataclass(frozen=True)
class Layout:
    """The images of a data set in the order in which they are stored, train first.

    Attributes:
        names: of every image, for messages.
        splits: images per split, in order.
        labels: ``[len(names)]`` int64, or None.
        class_names: None without labels.
        notes: what the user should know, one sentence each.
    """

    names: Sequence[str]
    splits: dict[str, int]
    labels: NDArray[np.int64] | None
    class_names: list[str] | None
    notes: list[str] = field(default_factory=list)


def image_names(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that end like an image file, in order."""
    return [name for name in names if PurePosixPath(name).suffix.lower() in extensions()]


def arrange(names: Iterable[str], where: str) -> Layout:
    """The layout of a tree of files, sorted by name.

    Folders around everything are passed over. Then ``train/`` and ``test/`` (or ``val/``, ``valid/``,
    ``validation/``), if that is all there is, are the splits; else everything is for training. Below that, the first
    folder level names the classes, sorted as text; images without folders have no labels.

    Args:
        names: of all files; those that do not end like an image are passed over.
        where: the data's place, for messages.

    Raises:
        UserError: no images, no training images, or a test class that training lacks.
    """
    pictures = image_names(names)
    if not pictures:
        raise UserError(
            f"data.root={where} holds no images ({', '.join(sorted(extensions()))}): is it the right folder?"
        )
    paths = {name: tuple(name.split("/")) for name in sorted(pictures)}
    prefix = _common_folders(paths.values())
    relative = {name: parts[prefix:] for name, parts in paths.items()}
    train, test, notes = _split(relative)
    if not train:
        raise UserError(f"data.root={where} has no images for training: put them below {_TRAIN}/")
    class_names = _class_names(train)
    if class_names is None and any(len(parts) > 1 for parts in train.values()):
        stray = next(name for name, parts in train.items() if len(parts) == 1)
        notes.append(f"no labels are taken from the folders, as some images lie beside them ({stray})")
    if class_names is not None and any(len(parts) > 2 for parts in train.values()):
        notes.append("the class folders hold folders themselves: is data.root one level too high?")
    if class_names is not None and len(class_names) == 1:
        notes.append("all images have one class: is data.root at the wrong level?")
    return Layout(
        names=[*train, *test],
        splits={"train": len(train), **({"test": len(test)} if test else {})},
        labels=None if class_names is None else _labels(train, test, class_names, where),
        class_names=class_names,
        notes=notes,
    )


_Relative = dict[str, tuple[str, ...]]  # full name -> the parts below what has been passed over


def _common_folders(paths: Iterable[tuple[str, ...]]) -> int:
    """How many leading folders all paths share."""
    paths = list(paths)
    first, last = min(paths), max(paths)
    shared = 0
    # The common prefix of the smallest and the largest of sorted tuples is that of all.
    while shared < min(len(first), len(last)) - 1 and first[shared] == last[shared]:
        shared += 1
    return shared


def _split(relative: _Relative) -> tuple[_Relative, _Relative, list[str]]:
    folders: dict[str, _Relative] = defaultdict(dict)
    for name, parts in relative.items():
        folders[parts[0].lower() if len(parts) > 1 else ""][name] = parts[1:]
    if _TRAIN not in folders or not folders.keys() <= {_TRAIN, *_TEST}:
        return relative, {}, []
    present = [folder for folder in _TEST if folder in folders]
    notes = [f"{len(folders[unused]):,} images in {unused}/ are left out" for unused in present[1:]]
    return folders[_TRAIN], folders[present[0]] if present else {}, notes


def _class_names(train: _Relative) -> list[str] | None:
    if any(len(parts) == 1 for parts in train.values()):
        return None
    return sorted({parts[0] for parts in train.values()})


def _labels(train: _Relative, test: _Relative, class_names: list[str], where: str) -> NDArray[np.int64]:
    index = {name: label for label, name in enumerate(class_names)}
    for name, parts in test.items():
        if len(parts) == 1 or parts[0] not in index:
            raise UserError(
                f"data.root={where} has the test image {name}, but {_TRAIN}/ has no such class: "
                f"give {_TRAIN}/ and test/ the same class folders"
            )
    return np.array([index[parts[0]] for parts in (*train.values(), *test.values())], dtype=np.int64)
