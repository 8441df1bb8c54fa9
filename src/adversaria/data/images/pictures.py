"""A data set of images that is yet to be decoded: what there is, and how to get at each image."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adversaria.data.archives.index import Names
from adversaria.data.archives.tree import FolderTree, StoredFile, Tree
from adversaria.data.images import pixels as images
from adversaria.data.images.layout import Layout
from adversaria.data.images.pixels import Pixels


class Item(NamedTuple):
    """One image yet to be decoded: its row, its size in the file, and what decodes it (in any thread)."""

    position: int
    nbytes: int
    image: Callable[[], Image.Image]


@dataclass(frozen=True)
class Pictures:
    """A data set yet to be decoded.

    Attributes:
        layout: what there is, in which order.
        items: a fresh pass over all images, in any order.
        sizes: width and height of the images at some rows, in any order, read from their headers; None: unreadable.
        encoding: the files' format where they are not the data set's original (``jpeg``, ``png``, ...), else None.
        item: the image at a row, where single ones can be had.
    """

    layout: Layout
    items: Callable[[], Iterable[Item]]
    sizes: Callable[[Collection[int]], Iterable[tuple[int, int] | None]]
    encoding: str | None = None
    item: Callable[[int], Item] | None = None


def from_arrays(
    splits: dict[str, tuple[Pixels, NDArray[np.int64]]], class_names: list[str], notes: Iterable[str] = ()
) -> Pictures:
    """Pictures from images ``[N, H, W]`` or ``[N, H, W, 3]`` uint8 and labels ``[N]`` per split, ``train`` first."""
    counts = {split: len(array) for split, (array, _) in splits.items()}
    names = [f"{split} image {index}" for split, count in counts.items() for index in range(count)]
    labels = np.concatenate([labels for _, labels in splits.values()]).astype(np.int64)

    def items() -> Iterator[Item]:
        rows = itertools.chain.from_iterable(array for array, _ in splits.values())
        for position, row in enumerate(rows):
            yield Item(position, row.nbytes, partial(Image.fromarray, np.ascontiguousarray(row)))

    def sizes(rows: Collection[int]) -> Iterator[tuple[int, int]]:
        ends = list(itertools.accumulate(counts.values()))
        for row in rows:
            height, width = list(splits.values())[bisect.bisect_right(ends, row)][0].shape[1:3]
            yield width, height

    return Pictures(Layout(names, counts, labels, class_names, list(notes)), items, sizes)


def from_tree(
    tree: Tree, layout: Layout, size: int | None, white: int | None = None, *, original: bool = False
) -> Pictures:
    """Pictures from the image files of a folder or archive.

    Args:
        tree: where the files are.
        layout: of those files.
        size: the side wanted in the end (see `images.decode`).
        white: the stored value that is white (see `images.decode`).
        original: whether these files are the data set as it was published.
    """

    def items() -> Iterator[Item]:
        positions = {name: position for position, name in enumerate(layout.names)}
        for file in tree.files(positions):
            yield Item(positions[file.name], file.size, partial(_decode_file, file, size, white))

    def sizes(rows: Collection[int]) -> Iterator[tuple[int, int] | None]:
        for file in tree.files({layout.names[row] for row in rows}):
            yield _size_of(file)

    ending = Path(layout.names[0]).suffix.lower()
    encoding = None if original else Image.registered_extensions().get(ending, "without an ending").lower()
    item = partial(_item, tree, Names.of(layout.names), size, white) if isinstance(tree, FolderTree) else None
    return Pictures(layout, items, sizes, encoding, item)


def _item(tree: FolderTree, names: Names, size: int | None, white: int | None, row: int) -> Item:
    file = tree.file(names[row])
    return Item(row, file.size, partial(_decode_file, file, size, white))


def _decode_file(file: StoredFile, size: int | None, white: int | None) -> Image.Image:
    return images.decode(file.read(), size, white)


def _size_of(file: StoredFile) -> tuple[int, int] | None:
    """Width and height without decoding."""
    try:
        with Image.open(file.path or io.BytesIO(file.read()), formats=images.formats()) as image:
            return image.size
    except Exception:  # Pillow's plugins raise anything; decoding will count the file and name it
        return None
