"""The cache says what it holds; only what it made itself, and nothing outside of it, is ever removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adversaria.core.errors import UserError
from adversaria.core.files import locked
from adversaria.data.cache.checksums import checksums, damaged
from adversaria.data.cache.entries import entries, remove
from adversaria.data.images.folder import ImageFolder

Make = Callable[..., ImageFolder]
Draw = Callable[..., None]


@pytest.fixture
def cache(tmp_path: Path, folder: Make, draw: Draw) -> Path:
    """Three entries: two of one place, of which the first is superseded, and one with another size."""
    for value in (1, 2):
        draw(tmp_path / "photos/1.png", value)
        folder(tmp_path / "photos").prepare()
    folder(tmp_path / "photos", size=4).prepare()
    return tmp_path / "cache"


def test_superseded_entries_are_told_and_removed(cache: Path, tmp_path: Path, folder: Make):
    found = entries(cache)
    assert len(found) == 3
    assert {entry.of for entry in found} == {str(tmp_path / "photos")}
    (old,) = [entry for entry in found if entry.superseded]
    assert old.nbytes == sum(file.stat().st_size for file in old.path.iterdir())
    assert remove([old]) == old.nbytes
    assert [entry.path for entry in entries(cache)] == [entry.path for entry in found if entry != old]
    data = folder(tmp_path / "photos")
    data.prepare()
    assert data.split("train").samples[0, 0, 0, 0] == 2


def test_an_older_format_and_an_unfinished_build_are_superseded(cache: Path):
    current = [entry for entry in entries(cache) if not entry.superseded]
    meta = json.loads((current[0].path / "meta.json").read_text())
    meta["key"]["format"] = 0
    (current[0].path / "meta.json").write_text(json.dumps(meta))
    current[1].path.rename(cache / f".{current[1].path.name}.unfinished.tmp")
    reasons = {entry.path.name: entry.superseded for entry in entries(cache)}
    assert reasons[current[0].path.name] == "an older format"
    assert reasons[f".{current[1].path.name}.unfinished.tmp"] == "unfinished"


def test_nothing_is_removed_that_is_not_the_caches_own(cache: Path, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "meta.json").write_text("{}")
    (cache / "photos-0123456789abcdef").symlink_to(precious)
    (cache / "mine").mkdir()
    (cache / "mine-0123456789abcdef").mkdir()
    inside = next(entry.path for entry in entries(cache) if entry.superseded)
    (inside / "link").symlink_to(precious)
    remove(entries(cache))
    assert not entries(cache)
    assert (precious / "meta.json").exists()
    assert (cache / "mine").exists()
    assert (cache / "mine-0123456789abcdef").exists()


def test_what_a_process_is_making_stays(cache: Path):
    (old,) = [entry for entry in entries(cache) if entry.superseded]
    with locked(cache / f".{old.path.name}.lock"):
        assert remove([old]) == 0
    assert old.path.exists()


def test_no_cache_has_no_entries(tmp_path: Path):
    assert entries(tmp_path / "none") == []


@pytest.mark.parametrize("name", ["../../evil", "a/b", "", "..", "CON", "x" * 200, "a\nb"])
def test_a_name_that_leads_out_of_the_cache_is_refused(folder: Make, tmp_path: Path, name: str):
    with pytest.raises(UserError, match=r"data\.name="):
        folder(tmp_path, name=name)


def test_checksums_notice_any_block(tmp_path: Path):
    path = tmp_path / "rows"
    path.write_bytes(bytes(9 * 2**20))
    expected = checksums(path)
    assert len(expected) == 3
    assert not damaged(path, expected)
    for where in (0, 5 * 2**20, 9 * 2**20 - 1):
        shutil.copy(path, tmp_path / "copy")
        with (tmp_path / "copy").open("r+b") as file:
            file.seek(where)
            file.write(b"x")
        assert damaged(tmp_path / "copy", expected)
    with path.open("ab") as file:
        file.write(b"x")
    assert damaged(path, expected)
