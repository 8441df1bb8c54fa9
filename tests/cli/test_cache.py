"""The command that lists the cache and makes room in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from adversaria.cli import cache
from adversaria.data.images.given import images_at

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with a superseded entry and its successor."""
    (tmp_path / "photos").mkdir()
    for value in (0, 1):
        Image.new("L", (8, 8), value).save(tmp_path / "photos/1.png")
        os.utime(tmp_path / "photos/1.png", ns=(value, value))
        images_at(str(tmp_path / "photos"), key="images", cache_dir=str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_lists_and_removes_what_is_superseded(folder: Path, command: Command):
    code, out, _ = command(cache, f"cache_dir={folder}")
    assert (code, out.count("decoded again since")) == (0, 1)
    assert len(list(folder.glob("[!.]*"))) == 2
    assert command(cache, f"cache_dir={folder}", "remove=superseded")[0] == 0
    (left,) = folder.glob("[!.]*")
    assert command(cache, f"cache_dir={folder}", f"remove={left.name}")[0] == 0
    assert not list(folder.glob("[!.]*"))


@pytest.mark.parametrize("name", ["../photos", "photos", "nothing-here"])
def test_a_name_that_is_no_entry_is_refused(folder: Path, command: Command, name: str):
    code, _, err = command(cache, f"cache_dir={folder}", f"remove={name}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"remove={name} is no entry of" in err
    assert (folder.parent / "photos/1.png").exists()
    assert len(list(folder.glob("[!.]*"))) == 2
