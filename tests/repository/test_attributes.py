"""Attributes are declared; one that is asked for by its name is that of a user's object, and a comment says why."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

from conftest import ROOT

BY_NAME = ("getattr", "hasattr", "setattr", "delattr")


def without_reason(source: str) -> Iterator[int]:
    """Lines of ``source`` that ask for an attribute by its name, with no comment on them or on the line above."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    reasons = [token for token in tokens if token.type == tokenize.COMMENT and not is_for_a_tool(token.string)]
    here = {token.start[0] for token in reasons}
    above = {token.start[0] + 1 for token in reasons if not token.line[: token.start[1]].strip()}
    asked = {token.start[0] for token in tokens if token.type == tokenize.NAME and token.string in BY_NAME}
    yield from sorted(asked - here - above)


def is_for_a_tool(comment: str) -> bool:
    return comment.startswith(("# type:", "# noqa", "# fmt:", "# ruff:"))


def test_attributes_are_asked_for_by_name_with_a_reason_alone() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for line in without_reason(path.read_text("utf-8"))
    ]
    assert found == []


def test_a_reason_stands_on_the_line_or_alone_above_it() -> None:
    assert list(without_reason("a = getattr(b, 'c')\n")) == [1]
    assert list(without_reason("x = 1  # about x\nhasattr(a, 'b')\n")) == [2]
    assert list(without_reason("# why\n\ngetattr(a, 'b')\n")) == [3]
    assert list(without_reason("getattr(a, 'b')  # type: ignore[misc]\n")) == [1]
    assert list(without_reason("# why\ngetattr(a, 'b')\nhasattr(a, 'b')  # why\ntext = 'getattr'\n")) == []
