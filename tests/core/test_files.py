"""Files are written whole, in the place of files alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adversaria.core.errors import UserError
from adversaria.core.files import write_text


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_file_takes_the_place_of_no_folder_and_no_device(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "place")
    before = (tmp_path / "place").stat()
    with pytest.raises(UserError, match="place is no regular file"):
        write_text(tmp_path / "place", "text")
    assert os.path.samestat(before, (tmp_path / "place").stat())
    assert os.listdir(tmp_path) == ["place"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / "place").symlink_to(tmp_path / "other")
    write_text(tmp_path / "place", "text")
    assert ((tmp_path / "place").read_text(), (tmp_path / "other").read_text()) == ("text", "other")
    assert not (tmp_path / "place").is_symlink()
