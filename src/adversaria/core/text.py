"""Text that came from a file, made fit for a screen, a page or the name of a file."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Any

from adversaria.core.errors import UserError

#: characters that some file system refuses in a name, or that a shell, a path or a log reads as something else
_UNFIT = re.compile(r'[<>:"/\\|?*\s=,\[\]{}()\'$&;!`#~^%]+')
#: names that Windows keeps for devices
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
_LONGEST_NAME = 120

#: name of the way of Python's codecs to encode text as `shown` shows it, where the encoding lacks a character
ESCAPED = "adversaria.escaped"


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        return codecs.backslashreplace_errors(error)
    text = error.object[error.start : error.end]
    return "".join(_byte(ord(character)) or ascii(character)[1:-1] for character in text), error.end


def _byte(code: int) -> str | None:
    """How a byte of a name that is not UTF-8 is shown, which Python holds as such a code; None for other characters."""
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else None


codecs.register_error(ESCAPED, _escape)


def shown(text: object, longest: int = 200) -> str:
    """``text`` as one line that a terminal or a page can only show: no control characters, no escapes, no change of the
    direction of writing, and not longer than ``longest`` characters. Bytes that are not UTF-8 are escaped.
    """
    characters = []
    for character in str(text)[: longest + 1]:
        category = unicodedata.category(character)
        if byte := _byte(ord(character)):
            characters.append(byte)
        elif category.startswith("C") or category in ("Zl", "Zp"):
            characters.append(character.encode("unicode_escape", "backslashreplace").decode())
        else:
            characters.append(character)
    line = "".join(characters)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def cleaned(value: Any) -> Any:
    """Plain containers with all of their texts, keys included, as `shown` gives them."""
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return shown(value, 1000) if isinstance(value, str) else value


def typed(value: object) -> str:
    """A plain value as one types it on a command line."""
    return shown("null" if value is None else str(value).lower() if isinstance(value, bool) else value)


def as_file_name(text: object, longest: int = 40) -> str:
    """``text`` as a part of a file's name: what some file system or shell refuses becomes ``_``; never empty."""
    name = _UNFIT.sub("_", shown(text, longest).replace("\\", "_")).strip("._- ")
    return name or "_"


def check_name(key: str, name: object) -> None:
    """Raises UserError unless ``name`` can be the name of one file or folder, on every system."""
    if not isinstance(name, str):
        raise UserError(f"{key}={shown(name)} is not text")
    wrong = (
        not name
        or name != shown(name, _LONGEST_NAME)
        or name.strip(" .") != name
        or any(character in '<>:"/\\|?*' for character in name)
        or _DEVICES.match(name)
    )
    if wrong:
        raise UserError(
            f"{key}={shown(name)!r} cannot be a folder's name; take letters, digits and '-', at most {_LONGEST_NAME}"
        )
