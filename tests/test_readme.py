"""The README tells the truth about ``conf/`` and about files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_table_of_choices_is_that_of_conf() -> None:
    spec = importlib.util.spec_from_file_location("choices", ROOT / "docs" / "choices.py")
    assert spec is not None
    assert spec.loader is not None
    choices = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(choices)
    readme = (ROOT / "README.md").read_text()
    assert choices.updated(readme) == readme, "run: python docs/choices.py"


def test_links_and_pictures_exist() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} points to {target}"
