"""What the names of image files say: which split and which class each one belongs to."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adversaria.data.images import extensions
from adversaria.data.index import Names
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
    endings = extensions()
    return [name for name in names if f".{name.rpartition('.')[2].lower()}" in endings]


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
    pictures.sort()
    above = len(_common_folders(pictures[0], pictures[-1]))
    train, test, notes = _split(pictures, above)
    if not train.names:
        raise UserError(f"data.root={where} has no images for training: put them below {_TRAIN}/")
    class_names = _class_names(train)
    if class_names is None and any(map(_class_of, train.relative())):
        stray = next(name for name, rest in zip(train.names, train.relative(), strict=True) if "/" not in rest)
        notes.append(f"no labels are taken from the folders, as some images lie beside them ({stray})")
    if class_names is not None and any(rest.count("/") > 1 for rest in train.relative()):
        notes.append("the class folders hold folders themselves: is data.root one level too high?")
    if class_names is not None and len(class_names) == 1:
        notes.append("all images have one class: is data.root at the wrong level?")
    return Layout(
        names=Names.of(itertools.chain(train.names, test.names)),
        splits={"train": len(train.names), **({"test": len(test.names)} if test.names else {})},
        labels=None if class_names is None else _labels(train, test, class_names, where),
        class_names=class_names,
        notes=notes,
    )


@dataclass(frozen=True)
class _Part:
    """Images of one split: their sorted names, which begin with ``above`` characters of folders around them."""

    names: list[str]
    above: int

    def relative(self) -> Iterator[str]:
        return (name[self.above :] for name in self.names)


def _common_folders(first: str, last: str) -> str:
    """The folders that the smallest and the largest of sorted names, and so all between them, share."""
    shared = ""
    for one, other in zip(first.split("/")[:-1], last.split("/")[:-1], strict=False):
        if one != other:
            break
        shared += f"{one}/"
    return shared


def _class_of(relative: str) -> str:
    """The first folder; empty without one."""
    return relative[: max(0, relative.find("/"))]


def _split(names: list[str], above: int) -> tuple[_Part, _Part, list[str]]:
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[_class_of(name[above:]).lower()].append(name)
    if _TRAIN not in folders or not folders.keys() <= {_TRAIN, *_TEST}:
        return _Part(names, above), _Part([], 0), []
    present = [folder for folder in _TEST if folder in folders]
    notes = [f"{len(folders[unused]):,} images in {unused}/ are left out" for unused in present[1:]]
    test = _Part(folders[present[0]], above + len(present[0]) + 1) if present else _Part([], 0)
    return _Part(folders[_TRAIN], above + len(_TRAIN) + 1), test, notes


def _class_names(train: _Part) -> list[str] | None:
    names = {_class_of(rest) for rest in train.relative()}
    return None if "" in names else sorted(names)


def _labels(train: _Part, test: _Part, class_names: list[str], where: str) -> NDArray[np.int64]:
    index = {name: label for label, name in enumerate(class_names)}
    for name, rest in zip(test.names, test.relative(), strict=True):
        if _class_of(rest) not in index:
            raise UserError(
                f"data.root={where} has the test image {name}, but {_TRAIN}/ has no such class: "
                f"give {_TRAIN}/ and test/ the same class folders"
            )
    labels = (index[_class_of(rest)] for rest in itertools.chain(train.relative(), test.relative()))
    return np.fromiter(labels, np.int64, len(train.names) + len(test.names))
