"""Two kinds of pictures for translation: pairs that belong together, and domains that do not."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from PIL import Image

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count, Seed, Side, Width, Workers
from adversaria.core.text import shown
from adversaria.data.archives.tree import Tree, open_tree
from adversaria.data.images.folder import ImageData, Source
from adversaria.data.images.found import find_images
from adversaria.data.images.layout import Layout
from adversaria.data.images.pictures import Item, Pictures, from_tree
from adversaria.data.images.pixels import Fit
from adversaria.data.module import Loaded
from adversaria.data.storage import Storage

#: names of the files of a split, by the split, ``train`` first
Files = Mapping[str, Sequence[str]]


class Sides(NamedTuple):
    """The files of both sides; ``halves`` where each file holds both, side by side."""

    a: Files
    b: Files
    halves: bool = False


class TwoSides(ImageData):
    """Pictures of two kinds, A and B, in a folder or an archive.

    Args:
        name, root, size, channels, fit, mirror, batch_size, storage, num_workers, cache_dir, limit, seed, white: see
            `ImageData`; ``channels`` None is decided for each side by itself.
        direction: ``a_to_b``: pictures of A are given, and those of B are the answers; ``b_to_a``: the other way.

    Raises:
        UserError: another direction, or as `ImageData`.
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
        white: Count | None = None,
        direction: Literal["a_to_b", "b_to_a"] = "a_to_b",
    ) -> None:
        super().__init__(
            name=name,
            size=size,
            channels=channels,
            fit=fit,
            mirror=mirror,
            batch_size=batch_size,
            storage=storage,
            num_workers=num_workers,
            cache_dir=cache_dir,
            limit=limit,
            seed=seed,
            root=root,
            white=white,
        )
        if direction not in ("a_to_b", "b_to_a"):
            raise UserError(f"data.direction={shown(direction)} is none; choose a_to_b or b_to_a")
        self.direction = direction

    @abstractmethod
    def sides(self, tree: Tree, where: str) -> Sides:
        """Which files are of which side.

        Raises:
            UserError: they cannot be told.
        """

    @property
    @abstractmethod
    def aligned(self) -> bool:
        """Whether the i-th picture of A belongs to the i-th of B."""

    def load(self) -> Loaded:
        """Opens both sides in the cache, after decoding them if need be.

        Raises:
            UserError: there are no such pictures.
        """
        if self.root is None:
            raise UserError(f"data.root is null: set it to a folder or an archive for data={self.name}")
        tree, where = open_tree(self.root, self.cache_folder), shown(self.root)
        sides = self.sides(tree, where)
        given, answers = ("a", "b") if self.direction == "a_to_b" else ("b", "a")
        first, second = (self._side(tree, sides, side) for side in (given, answers))
        if self.aligned:
            self._refuse_lost(sides.a if given == "a" else sides.b, first, where)
            self._refuse_lost(sides.a if given == "b" else sides.b, second, where)
        spec = replace(second.spec, condition=first.spec)
        identities = {
            split: {**identity, "conditions": str(first.identities[split]["content"])}
            for split, identity in second.identities.items()
        }
        notes = [*first.notes, *(note for note in second.notes if note not in first.notes)]
        return Loaded(spec, second.splits, identities, None, notes, first.splits, self.aligned)

    def _side(self, tree: Tree, sides: Sides, side: str) -> Loaded:
        files: Files = sides.a if side == "a" else sides.b
        layout = Layout([*chain.from_iterable(files.values())], {k: len(v) for k, v in files.items()}, None, None)

        def pictures() -> Pictures:
            whole = from_tree(tree, layout, None if sides.halves else self.size, self.white, original=True)
            return _half(whole, side) if sides.halves else whole

        source = Source(f"sides 1 {side} {sides.halves} {tree.fingerprint()}", pictures)
        return _OneSide(
            lambda: source,
            name=f"{self.name}-{side}",
            root=str(self.root),
            size=self.size,
            channels=self.channels,
            fit=self.fit,
            white=self.white,
            mirror=False,
            batch_size=self.batch_size,
            storage=self.storage,
            num_workers=self.num_workers,
            cache_dir=str(self.cache_folder),
            limit=self.limit,
            seed=self.seed,
        ).load()

    def _refuse_lost(self, files: Files, loaded: Loaded, where: str) -> None:
        """Refuses pairs of which one picture was left out, because all after it would belong to the wrong partners."""
        for split, names in files.items():
            lost = len(names) - len(loaded.splits[split])
            if lost and not (split == "train" and self.limit is not None):
                raise UserError(
                    f"data.root={where}: {lost} of the {len(names):,} pictures of {split} cannot be read (named in the "
                    "log); take them and their partners away"
                )


class _OneSide(ImageData):
    """The pictures of one side, as any other images."""

    def __init__(self, find: Callable[[], Source], **settings: Any) -> None:
        super().__init__(**settings)
        self.source = find  # type: ignore[method-assign]


class Pairs(TwoSides):
    """Pairs of pictures: what is given, and its answer (the data sets of Isola et al. 2017 are such).

    Either each file holds A and B side by side, or there are folders ``A/`` and ``B/``, or ``trainA``, ``trainB`` and
    perhaps ``testA``, ``testB``, whose files belong together by their names without endings. Files side by side may lie
    in ``train/`` and ``test/`` (or ``val/``).
    """

    aligned = True

    def sides(self, tree: Tree, where: str) -> Sides:
        """See `TwoSides.sides`."""
        found = _images(tree, where)
        a, b = _by_folder(found)
        if not a and not b:
            files = _by_split(found)
            return Sides(files, files, halves=True)
        for one, other, letter in ((a, b, "B"), (b, a, "A")):
            for split, names in one.items():
                partners = {_key(name) for name in other.get(split, ())}
                if alone := next((name for name in names if _key(name) not in partners), None):
                    raise UserError(
                        f"data.root={where}: {shown(alone)} has no partner of the same name in {letter}; add it, or "
                        "take the file away"
                    )
                if len({_key(name) for name in names}) < len(names):
                    raise UserError(f"data.root={where}: two files of {split} differ in their endings alone")
        return Sides(_in_order(a), _in_order(b))


class Domains(TwoSides):
    """Two sets of pictures without pairs, as those of Zhu et al. 2017: ``trainA`` and ``trainB``, perhaps ``testA`` and
    ``testB``, or ``A/`` and ``B/``, of any number each.
    """

    aligned = False

    def sides(self, tree: Tree, where: str) -> Sides:
        """See `TwoSides.sides`."""
        a, b = _by_folder(_images(tree, where))
        for letter, side in (("A", a), ("B", b)):
            if not side.get("train"):
                raise UserError(
                    f"data.root={where} has no pictures of domain {letter} to learn from; put some into train{letter}/ "
                    f"or {letter}/"
                )
        splits = [split for split in a if split in b]
        return Sides({split: a[split] for split in splits}, {split: b[split] for split in splits})


def _images(tree: Tree, where: str) -> list[str]:
    found = find_images(tree, [])
    if not found.images:
        raise UserError(f"data.root={where} holds no images: is it the right folder?")
    return list(found.images)


def _by_folder(names: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The files of A and of B by split, from a folder in their path that is called so."""
    sides: dict[str, dict[str, list[str]]] = {"a": {}, "b": {}}
    for name in names:
        for folder in reversed(PurePosixPath(name).parts[:-1]):
            split, side = _SPLITS.get(folder[:-1].lower().rstrip("_-")), folder[-1:].lower()
            if split is not None and side in sides:
                sides[side].setdefault(split, []).append(name)
                break
    return _train_first(sides["a"]), _train_first(sides["b"])


def _train_first(files: dict[str, list[str]]) -> dict[str, list[str]]:
    return dict(sorted(files.items(), reverse=True))


#: what stands before the letter of a side, or is a folder's whole name
_SPLITS = {"": "train", "train": "train", "test": "test", "val": "test", "valid": "test"}


def _by_split(names: Sequence[str]) -> dict[str, list[str]]:
    """Files side by side: those below ``test`` or ``val`` are for testing."""
    files: dict[str, list[str]] = {"train": [], "test": []}
    for name in names:
        folders = {folder.lower() for folder in PurePosixPath(name).parts[:-1]}
        files["test" if folders & {"test", "val", "valid"} else "train"].append(name)
    if not files["train"]:
        files["train"], files["test"] = files["test"], []
    return {split: found for split, found in files.items() if found}


def _key(name: str) -> str:
    """What two partners share: the path below the folder of their side, without its ending."""
    parts = PurePosixPath(name).with_suffix("").parts
    sides = [k for k, part in enumerate(parts[:-1]) if _SPLITS.get(part[:-1].lower().rstrip("_-")) is not None]
    return "/".join(parts[(sides[-1] + 1 if sides else 0) :])


def _in_order(files: Files) -> dict[str, list[str]]:
    return {split: sorted(names, key=_key) for split, names in files.items()}


def _half(pictures: Pictures, side: str) -> Pictures:
    """The left (``a``) or right half of each picture."""

    def cut(image: Callable[[], Image.Image]) -> Image.Image:
        whole = image()
        middle = whole.width // 2
        if middle < 1:
            raise ValueError("it is too narrow to hold two pictures side by side")
        return whole.crop((0, 0, middle, whole.height) if side == "a" else (whole.width - middle, 0, *whole.size))

    def halved(item: Item) -> Item:
        return item._replace(image=partial(cut, item.image))

    one = pictures.item
    return Pictures(
        pictures.layout,
        lambda: map(halved, pictures.items()),
        lambda rows: (None if size is None else (size[0] // 2, size[1]) for size in pictures.sizes(rows)),
        pictures.encoding,
        None if one is None else lambda row: halved(one(row)),
    )
