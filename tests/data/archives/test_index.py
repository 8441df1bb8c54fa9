"""A folder is looked through once; whatever changes in it is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adversaria.data.archives import index
from adversaria.data.archives.index import Names, index_of

CACHE = Path("kept")


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of more files than every start looks at."""
    monkeypatch.setattr(index, "LOOKED_AT", 3)
    for folder in ("a", "a-b", "b/deep"):
        (tmp_path / "many" / folder).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "many" / folder / f"{number}.png").write_bytes(b"x" * number)
    return tmp_path / "many"


def test_names_in_one_block_are_the_names():
    names = ["", "a/b.png", "ä\udcff.jpg", "z"]  # one that is no valid UTF-8
    block = Names.of(names)
    assert list(block) == names
    assert block == names
    assert (block[1], block[-1], block[1:3]) == ("a/b.png", "z", names[1:3])
    with pytest.raises(IndexError):
        block[4]


def test_names_are_sorted_as_text(many: Path):
    names = list(index_of(many, None).names)
    assert names == sorted(names)
    assert len(names) == 9


def test_a_kept_index_spares_looking_through_the_folder(many: Path, monkeypatch: pytest.MonkeyPatch):
    first = index_of(many, CACHE)
    monkeypatch.setattr(index, "scan", lambda _: pytest.fail("looked through again"))
    second = index_of(many, CACHE)
    assert second.fingerprint == first.fingerprint
    assert (second.names, second.sizes.tolist()) == (list(first.names), first.sizes.tolist())


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "b/deep/new.png").write_bytes(b"x"),
        lambda root: (root / "a/1.png").unlink(),
        lambda root: (root / "a/1.png").rename(root / "a/9.png"),
        lambda root: ((root / "c").mkdir(), (root / "c/1.png").write_bytes(b"")),
        lambda root: [path.write_bytes(b"longer") for path in root.rglob("*.png")],
    ],
    ids=["added", "removed", "renamed", "new folder", "written over"],
)
def test_a_changed_folder_is_noticed(many: Path, change: Callable[[Path], None]):
    before = index_of(many, CACHE)
    os.utime(many / "a", ns=(0, 10**9))  # its clock may be coarser than this test is fast
    os.utime(many / "b/deep", ns=(0, 10**9))
    os.utime(many, ns=(0, 10**9))
    assert index_of(many, CACHE).fingerprint == before.fingerprint
    change(many)
    after = index_of(many, CACHE)
    assert after.fingerprint != before.fingerprint
    assert set(after.names) == {path.relative_to(many).as_posix() for path in many.rglob("*.png")}


def test_a_damaged_index_is_made_again(many: Path):
    fingerprint = index_of(many, CACHE).fingerprint
    (kept,) = CACHE.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert index_of(many, CACHE).fingerprint == fingerprint


def test_a_small_folder_keeps_no_index_and_is_looked_at_whole(many: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index, "LOOKED_AT", 9)
    before = index_of(many, CACHE).fingerprint
    assert not CACHE.exists()
    (many / "a/0.png").write_bytes(b"longer")
    assert index_of(many, CACHE).fingerprint != before
