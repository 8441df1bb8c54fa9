"""What the names of image files say: which split and which class each one belongs to."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.data.archives.index import Names
from adversaria.data.images.pixels import extensions

_Kind: TypeAlias = Literal["train", "test", "validation", "other"]

# Public data sets spell them in all these ways. With a word before it (mnist_train) or a number after it (val2017) a
# name still says which split it is; beside it, "other" holds images that belong to no split.
_WORDS: dict[str, _Kind] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "development"), "validation"),
    **dict.fromkeys(("unlabeled", "unlabelled", "unsupervised", "unsup", "extra"), "other"),
}
_SPLIT = re.compile(
    rf"(?P<before>.*[ _.-])?(?P<word>{'|'.join(_WORDS)})"
    r"([ _.-]*(set|data|dataset|split|images?|imgs?|pictures|photos|samples))?[ _.-]*\d*",
    re.IGNORECASE,
)
_NAMED_FOLDERS = 4


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


def arrange(pictures: Iterable[str], where: str, notes: Iterable[str] = ()) -> Layout:
    """The layout of a tree of images, sorted by name.

    Folders around everything are passed over. Where a folder holds one that is named like training images (``train``,
    ``Training``, ``train_set``, ``mnist_train``, ...) and one that is named like test images (``test``, ``testing``,
    ...; else ``val``, ``validation``, ...), these are the splits, and what lies beside them is left out with a note; so
    it is with ``train/`` alone if nothing else could be a class. This holds within class folders too
    (``cat/train/1.jpg``). Without splits everything is for training. Below that, the first folder level names the
    classes, sorted as text, or as numbers if all are; images without folders have no labels.

    Args:
        pictures: names of all images.
        where: the data's place, for messages.
        notes: what is known already.

    Raises:
        UserError: no training images, or a test class that training lacks.
    """
    names = sorted(pictures)
    train, test, left_out = _split(names, where)
    notes = [*notes, *left_out]
    class_names = _class_names(train)
    if class_names is None and any(map(_class_of, train.relative)):
        stray = next(name for name, rest in zip(train.names, train.relative, strict=True) if "/" not in rest)
        notes.append(f"no labels are taken from the folders, as some images lie beside them ({shown(stray)})")
    if class_names is not None and any(rest.count("/") > 1 for rest in train.relative):
        notes.append("the class folders hold folders themselves: is data.root one level too high?")
    if class_names is not None and len(class_names) == 1:
        notes.append("all images have one class: is data.root at the wrong level?")
    return Layout(
        names=Names.of(itertools.chain(train.names, test.names)),
        splits={"train": len(train.names), **({"test": len(test.names)} if test.names else {})},
        labels=None if class_names is None else _labels(train, test, class_names, where),
        class_names=None if class_names is None else _fit_to_show(class_names),
        notes=notes,
    )


@dataclass
class _Part:
    """Images of one split: their names, and what is left of these without the split and the folders around it."""

    names: list[str] = field(default_factory=list)
    relative: list[str] = field(default_factory=list)

    def add(self, name: str, relative: str) -> None:
        self.names.append(name)
        self.relative.append(relative)


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


def _kind(folder: str, *, alone: bool = False) -> _Kind | None:
    """Which split a folder's name says it is; ``alone``: by a name that says nothing else."""
    match = _SPLIT.fullmatch(folder)
    return None if match is None or (alone and match["before"]) else _WORDS[match["word"].lower()]


def _split(names: list[str], where: str) -> tuple[_Part, _Part, list[str]]:
    """The training and the test images, and what to say of those that are neither."""
    above = _common_folders(names[0], names[-1])
    level = _level_of_splits(names, above.count("/"), where)
    if level is None:
        tests = [
            folder for folder in above.split("/") if folder and _kind(folder, alone=True) in ("test", "validation")
        ]
        notes = [f"{shown(folder, 60)}/ is all there is: its images are for training" for folder in tests[-1:]]
        return _Part(names, [name[len(above) :] for name in names]), _Part(), notes
    kinds: dict[str, _Kind | None] = {}
    parts: dict[_Kind | None, list[tuple[str, str]]] = defaultdict(list)
    beside: Counter[str] = Counter()
    for name in names:
        folders = name.split("/")
        split = folders[level] if len(folders) > level + 1 else ""
        kind = kinds[split] = kinds[split] if split in kinds else _kind(split)
        if kind in (None, "other"):
            beside[split] += 1
        else:
            parts[kind].append((name, split))
    tested: _Kind = "test" if "test" in parts else "validation"
    if tested == "test":
        beside.update(split for _, split in parts["validation"])
    used = [name for kind in ("train", tested) for name, _ in parts[kind]]
    around = "/".join(used[0].split("/")[:level])
    # Folders around the splits name the classes only where they differ.
    skipped = level if all(name.startswith(f"{around}/") for name in used) else 0
    train, test = _Part(), _Part()
    for kind, part in (("train", train), (tested, test)):
        for name, _ in parts[kind]:
            folders = name.split("/")
            part.add(name, "/".join([*folders[skipped:level], *folders[level + 1 :]]))
    named = dict.fromkeys(split for kind in ("train", tested) for _, split in parts[kind])
    return train, test, _left_out(beside, " and ".join(f"{shown(split, 60)}/" for split in named))


def _level_of_splits(names: list[str], around: int, where: str) -> int | None:
    """How many folders lie above those that are the splits; None if there are no splits."""
    inside: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        parts = folder.split("/") if folder else []
        for level, part in enumerate(parts):
            inside[level]["/".join(parts[:level])].add(part)
    for level in sorted(inside):
        for siblings in inside[level].values():
            kinds = {_kind(folder) for folder in siblings}
            if "train" in kinds and kinds & {"test", "validation"}:
                return level
    (siblings,) = inside[around].values() if inside[around] else (set(),)
    alone = {folder: _kind(folder, alone=True) for folder in siblings}
    trained = [folder for folder, kind in alone.items() if kind == "train"]
    unknown = [folder for folder, kind in alone.items() if kind is None]
    if len(siblings) > 1 and not trained and not unknown:
        folders = ", ".join(map(shown, sorted(siblings)))
        raise UserError(f"data.root={where} has no images for training, as its folders are {folders}: name one train/")
    # A railway's photos may lie in train/ beside car/; but a folder that holds the class folders is no class.
    classes_below = all("/" in name.split("/", around + 1)[-1] for name in names if name.split("/")[around] in trained)
    return around if trained and (not unknown or classes_below) else None


def _left_out(beside: Counter[str], splits: str) -> list[str]:
    notes = []
    if strays := beside.pop("", 0):
        notes.append(f"{_images(strays)} beside {splits} {_are(strays)} left out")
    for folder, count in beside.most_common(_NAMED_FOLDERS):
        notes.append(f"{_images(count)} of {shown(folder, 60)}/ {_are(count)} left out")
    others = sum(count for _, count in beside.most_common()[_NAMED_FOLDERS:])
    if others:
        notes.append(f"{_images(others)} of {len(beside) - _NAMED_FOLDERS:,} other folders {_are(others)} left out")
    return notes


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _class_names(train: _Part) -> list[str] | None:
    names = {_class_of(rest) for rest in train.relative}
    return None if "" in names else in_order(names)


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes as numbers if all are whole numbers (2 before 10), else as text."""
    as_text = sorted(names)
    if all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in as_text):
        return sorted(as_text, key=int)
    return as_text


def _fit_to_show(class_names: list[str]) -> list[str]:
    """The names without what a screen or a page would not just show; still different from each other."""
    cleaned = [shown(name) for name in class_names]
    repeated = Counter(cleaned)
    return [name if repeated[name] == 1 else f"{name} ({label})" for label, name in enumerate(cleaned)]


def _labels(train: _Part, test: _Part, class_names: list[str], where: str) -> NDArray[np.int64]:
    index = {name: label for label, name in enumerate(class_names)}
    for name, rest in zip(test.names, test.relative, strict=True):
        if _class_of(rest) not in index:
            raise UserError(
                f"data.root={where} has the test image {shown(name)}, but the training images have no such class: "
                f"give train/ and test/ the same class folders"
            )
    labels = (index[_class_of(rest)] for rest in itertools.chain(train.relative, test.relative))
    return np.fromiter(labels, np.int64, len(train.names) + len(test.names))
