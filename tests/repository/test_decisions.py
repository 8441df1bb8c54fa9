"""``docs/decisions.md``: each line dated, and the files that it names are there."""

from __future__ import annotations

import re

from conftest import ROOT

TEXT = (ROOT / "docs" / "decisions.md").read_text("utf-8")
PACKAGE = ROOT / "src" / "adversaria"


def test_each_line_has_a_date_and_a_decision() -> None:
    lines = re.findall(r"^- .*$", TEXT, re.MULTILINE)
    assert lines
    assert [line for line in lines if not re.match(r"- 20\d\d-\d\d-\d\d \*\*\S", line)] == []


def test_the_files_of_rooms_that_it_names_are_there() -> None:
    named = set(re.findall(r"`([a-z_]+/[a-z0-9_/]+\.py)`", TEXT))
    assert named
    assert sorted(file for file in named if not any((base / file).exists() for base in (PACKAGE, ROOT))) == []
