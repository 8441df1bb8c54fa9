"""Images in general: decoded once into the cache; and the simplest such data set, a folder or an archive of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from adversaria.core.errors import UserError
from adversaria.core.files import cache_folder
from adversaria.core.ranges import Count, Seed, Side, Width, Workers
from adversaria.core.text import shown
from adversaria.core.types import DataSpec
from adversaria.data.archives.tree import open_tree
from adversaria.data.cache import store as cache
from adversaria.data.images.decoding import RowDecoder, decode_all
from adversaria.data.images.doubts import doubts
from adversaria.data.images.labels import layout_of
from adversaria.data.images.on_demand import undecoded
from adversaria.data.images.pictures import Pictures, from_tree
from adversaria.data.images.pixels import Fit
from adversaria.data.images.survey import Survey, survey
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split, Storage
from adversaria.modalities.image import Image

_LARGEST_SIZE = 8192


@dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
        fingerprint: changes whenever the images do; cheap to compute.
        pictures: what there is to decode; called only when the cache has no such entry.
    """

    fingerprint: str
    pictures: Callable[[], Pictures]


class ImageData(DataModule):
    """Images as uint8 rows in a cache on disk, keyed by content and transform: the second start is instant.

    Args:
        name, batch_size, storage, num_workers, seed: see `DataModule`.
        root: a folder or an archive; what null means is up to the data set.
        size: height and width of the samples; None keeps the images' own, if they all have one.
        channels: 1 (grey) or 3 (RGB); None takes 1 if all images are grey, else 3.
        fit: ``crop`` to the largest centred square and resize, ``resize`` both sides independently, or ``pad``
            with black up to ``size``.
        white: the stored value that becomes white (255), where files do not use the whole range of their type, such as
            4095 for 12-bit values in 16-bit files; None: 255, and 65535 for more than 8 bits.
        mirror: flips each image left to right with probability 1/2, in the training step.
        cache_dir: None takes the environment's ``ADVERSARIA_CACHE``, else ``~/.cache/adversaria``.
        limit: train on the first so many images of a fixed shuffled order, which are then held in memory.
        download: whether a data set that is not there may be fetched.

    A new data set overrides `source`.
    """

    def __init__(
        self,
        *,
        name: str,
        size: Side | None,
        channels: Width | None,
        fit: Fit,
        mirror: bool,
        batch_size: Count,
        storage: Storage,
        num_workers: Workers,
        cache_dir: str | None,
        limit: Count | None,
        seed: Seed,
        root: str | None = None,
        download: bool = False,
        white: Count | None = None,
    ) -> None:
        super().__init__(name=name, batch_size=batch_size, storage=storage, num_workers=num_workers, seed=seed)
        if size is not None and not 1 <= size <= _LARGEST_SIZE:
            raise UserError(f"data.size={size}: give a side in pixels from 1 to {_LARGEST_SIZE}")
        if channels not in (None, 1, 3):
            raise UserError(f"data.channels={channels}: give 1 (grey), 3 (RGB) or null (as the images are)")
        if fit not in get_args(Fit):
            raise UserError(f"data.fit={fit}: give one of {', '.join(get_args(Fit))}")
        if white is not None and not 1 <= white < 2**31:
            raise UserError(f"data.white={white}: give the stored value that is white, from 1 to {2**31 - 1}, or null")
        if limit is not None and limit < 1:
            raise UserError(f"data.limit={limit}: give at least 1, or null for all images")
        self.root = None if root is None else Path(root).expanduser()
        self.size = size
        self.channels = channels
        self.fit: Fit = fit
        self.white = white
        self.mirror = mirror
        self.cache_folder = cache_folder(cache_dir)
        self.limit = limit
        self.download = download

    def source(self) -> Source:
        """Where the images come from; fetches them first where that is allowed and needed.

        Raises:
            UserError: they are not there.
        """
        raise NotImplementedError

    def survey(self) -> Survey:
        """How many training images there are and how large, without decoding any.

        Raises:
            UserError: as `load`.
        """
        return survey(self._open_source().pictures(), shown(self.root or self.name), self.limit)

    def load(self) -> Loaded:
        """Opens the cached images, after decoding them if need be; or the files, to be decoded as they are used."""
        source = self._open_source()
        key: dict[str, Any] = {
            "source": source.fingerprint,
            "size": self.size,
            "channels": self.channels,
            "fit": self.fit,
        }
        if self.white is not None:
            key["white"] = self.white
        if self.storage == "files":
            decoder = RowDecoder(self.size, self.channels, self.fit, shown(self.root or self.name))
            entry = undecoded(source.pictures(), decoder, key)
        else:
            entry = cache.get(self.cache_folder, self.name, key, partial(self._decode, source), self._place())
        _, height, width, channels = entry.samples.shape
        class_names = entry.info["class_names"]
        num_classes = None if class_names is None else len(class_names)
        spec = DataSpec((channels, height, width), num_classes, Image())
        splits = {
            which: Split(entry.samples[start:stop], None if entry.labels is None else entry.labels[start:stop])
            for which, (start, stop) in entry.splits.items()
        }
        if self.limit is not None:
            splits["train"] = self._limited(splits["train"], self.limit)
        notes = [*entry.info["notes"], *doubts(splits["train"], class_names, deep=bool(entry.info.get("deep")))]
        identities = {which: self._identity(which, len(split), entry) for which, split in splits.items()}
        return Loaded(spec, splits, identities, class_names, notes)

    def _open_source(self) -> Source:
        try:
            return self.source()
        except OSError as error:
            raise UserError(
                f"data.root={shown(self.root)} cannot be read ({shown(error)}): check the path and its rights"
            ) from error

    def _place(self) -> str:
        return self.name if self.root is None else shown(self.root.resolve(), 1000)

    def _decode(self, source: Source, path: Path) -> cache.Written:
        where = shown(self.root or self.name)
        pictures = source.pictures()
        return decode_all(pictures, path, size=self.size, channels=self.channels, fit=self.fit, where=where)

    def _limited(self, train: Split, limit: int) -> Split:
        if limit > len(train):
            raise UserError(
                f"data.limit={limit} is more than the {len(train):,} training images: set it to null for all"
            )
        # The same images for every seed, and fewer are always among more.
        chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:limit])
        return Split(train.samples[chosen], None if train.labels is None else train.labels[chosen])

    def _identity(self, which: str, count: int, entry: cache.Entry) -> dict[str, str | int]:
        _, height, width, channels = entry.samples.shape
        encoding = entry.info["encoding"]
        return {
            "dataset": self.name if encoding is None else f"{self.name}-{encoding}",
            "split": which,
            "count": count,
            "size": height if height == width else f"{height}x{width}",
            "channels": channels,
            "fit": self.fit,
            "content": entry.content[which],
        }


class ImageFolder(ImageData):
    """A user's own images: a folder or an archive (.tar, .tar.gz, .tar.xz, .zip) of files of any size and kind.

    With class folders (``cats/1.jpg``) the images are labelled, without they are not; with ``train/`` and ``test/``
    above (or ``val/``) there is a test split, without there is none (see `layout.arrange`). A ``dataset.json`` of
    StyleGAN's tools gives the labels instead (see `labels_file.layout_of`).
    """

    def source(self) -> Source:
        """The tree at ``root``."""
        if self.root is None:
            raise UserError("data.root is null: set it to a folder or an archive of images (data.root=path/to/images)")
        root, tree = self.root, open_tree(self.root, self.cache_folder)

        def pictures() -> Pictures:
            return from_tree(tree, layout_of(tree, shown(root)), self.size, self.white, original=True)

        # The number changes when the same files get other labels.
        return Source(f"3 {tree.fingerprint()}", pictures)
