"""Which files of a folder or archive are images: by their ending, and where that says nothing by their first bytes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from adversaria.core.text import shown
from adversaria.data.archives.tree import Tree
from adversaria.data.images.pixels import extensions

#: bytes of a file that tell its format
HEAD = 32
# Of each unknown ending so many files are looked into, before all of them are: a million .json beside a million images
# would otherwise be opened.
_TRIED = 16
_NAMED_ENDINGS = 5
# JPEG, PNG, GIF, WebP, TIFF, PPM, JPEG 2000, AVIF: how the files of `images.formats` begin; BMP has two bytes only,
# which are checked together with the zeros that all of them have further on.
_BEGINNING = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|P[1-6]\s|\0\0\0\x0cjP  |\xff\x4f\xff\x51"
    rb"|....ftypavi[fs]|BM....\0\0\0\0",
    re.DOTALL,
)


@dataclass(frozen=True)
class Found:
    """The files of a tree.

    Attributes:
        images: names, sorted.
        left_out: how many other files there are, by ending; ``""`` for those without.
    """

    images: list[str]
    left_out: Counter[str]

    def notes(self) -> list[str]:
        """What to say of the files that are left out, at most one line."""
        if not self.left_out:
            return []
        total = sum(self.left_out.values())
        each = [f"{shown(end, 20) or 'no ending'} {n:,}" for end, n in self.left_out.most_common(_NAMED_ENDINGS)]
        each += ["..."] if len(self.left_out) > _NAMED_ENDINGS else []
        files, images = ("file", "image") if total == 1 else ("files", "images")
        return [f"{total:,} {files} left out, no {images} ({', '.join(each)})"]


def find_images(tree: Tree, passed_over: Iterable[str] = ()) -> Found:
    """The images of a tree: files that end like one, and files of other endings or none that begin like one.

    Args:
        tree: the files.
        passed_over: files that have another use, and are not spoken of.
    """
    known = extensions()
    images: list[str] = []
    others: dict[str, list[str]] = defaultdict(list)
    not_meant = set(passed_over)
    for name in tree.names():
        ending = PurePosixPath(name).suffix.lower()
        if ending in known:
            images.append(name)
        elif name not in not_meant:
            others[ending].append(name)
    tried = {name for names in others.values() for name in _evenly(names)}
    promising = {PurePosixPath(name).suffix.lower() for name in _images_among(tree, tried)}
    doubtful = {name for ending in promising for name in others[ending]}
    found = set(_images_among(tree, doubtful))
    left_out = Counter({ending: sum(name not in found for name in names) for ending, names in others.items()})
    return Found(sorted([*images, *found]), +left_out)


def _evenly(names: list[str]) -> list[str]:
    rows = np.unique(np.linspace(0, len(names) - 1, min(len(names), _TRIED)).astype(np.int64))
    return [names[row] for row in rows.tolist()]


def _images_among(tree: Tree, wanted: set[str]) -> list[str]:
    return [name for name, head in tree.heads(wanted, HEAD) if _BEGINNING.match(head)] if wanted else []
