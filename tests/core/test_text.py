"""Text from elsewhere, made fit for a screen, an encoding or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from adversaria.core.files import append, read_text, write_text
from adversaria.core.text import ESCAPED, shown

BYTES = "th\udce9"


def test_what_an_encoding_lacks_is_shown_as_on_the_screen() -> None:
    assert BYTES.encode("utf-8", ESCAPED) == shown(BYTES).encode() == rb"th\xe9"
    assert "ü\ud800猫".encode("ascii", ESCAPED) == rb"\xfc\ud800\u732b"
    assert "ü猫".encode("utf-8", ESCAPED).decode("utf-8") == "ü猫"
    assert b"th\xe9".decode("utf-8", ESCAPED) == r"th\xe9"


def test_files_hold_utf8(tmp_path: Path) -> None:
    for errors, kept, back in (
        (ESCAPED, rb"th\xe9 " + "ü".encode(), r"th\xe9 ü"),
        ("surrogateescape", b"th\xe9 \xc3\xbc", f"{BYTES} ü"),
    ):
        write_text(tmp_path / "x", f"{BYTES} ü", errors=errors)
        assert (tmp_path / "x").read_bytes() == kept
        assert read_text(tmp_path / "x", errors=errors) == back
    with append(tmp_path / "log") as file:
        file.write(f"{BYTES} ü")
    assert (tmp_path / "log").read_text("utf-8") == r"th\xe9 ü"


@pytest.mark.parametrize("text", [BYTES, "a\nb", "\x1b[2J", "\u202eevil", "ü"])
def test_what_is_shown_can_be_printed_anywhere(text: str) -> None:
    assert shown(text).isprintable()
    shown(text).encode("utf-8")
