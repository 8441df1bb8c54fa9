"""The command that lists the cache and makes room in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from adversaria.cli import cache
from adversaria.data.given import images_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with a superseded entry and its successor."""
    (tmp_path / "photos").mkdir()
    for value in (0, 1):
        Image.new("L", (8, 8), value).save(tmp_path / "photos/1.png")
        os.utime(tmp_path / "photos/1.png", ns=(value, value))
        images_at(str(tmp_path / "photos"), key="images", cache_dir=str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["cache.py", *arguments])
    return cache.main()


def test_it_lists_and_removes_what_is_superseded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    assert run(f"cache_dir={folder}", monkeypatch=monkeypatch) == 0
    assert "decoded again since" in "".join(capfd.readouterr())
    assert len(list(folder.glob("[!.]*"))) == 2
    assert run(f"cache_dir={folder}", "remove=superseded", monkeypatch=monkeypatch) == 0
    (left,) = folder.glob("[!.]*")
    assert run(f"cache_dir={folder}", f"remove={left.name}", monkeypatch=monkeypatch) == 0
    assert not list(folder.glob("[!.]*"))


@pytest.mark.parametrize("name", ["../photos", "photos", "nothing-here"])
def test_a_name_that_is_no_entry_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    assert run(f"cache_dir={folder}", f"remove={name}", monkeypatch=monkeypatch) == 2
    assert (folder.parent / "photos/1.png").exists()
    assert len(list(folder.glob("[!.]*"))) == 2
