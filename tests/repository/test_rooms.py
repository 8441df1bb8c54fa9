"""The rooms of the package: each imports only those before it in this order, also inside a function."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

ROOMS = [
    "core",
    "config",
    "runs",
    "modalities",
    "data",
    "features",
    "nn",
    "objectives",
    "systems",
    "sampling",
    "evaluation",
    "health",
    "recipes",
    "training",
    "reporting",
    "cli",
]
PACKAGE = ROOT / "src" / "adversaria"


def imports(source: str, package: str) -> Iterator[str]:
    """Every module that ``source`` imports from the package anywhere, for types alone or in a function too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{package}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward(source: str, room: str) -> list[str]:
    """Imports of ``source``, which lies in ``room``, of rooms after it; as sentences."""
    found = []
    for name in imports(source, room):
        package, _, inner = f"{name}.".partition(".")
        other = inner.partition(".")[0]
        if package == "adversaria" and ROOMS.index(other) > ROOMS.index(room):
            found.append(f"{room} imports {other} ({name}), which comes after it")
    return found


def test_each_module_lies_in_a_room() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py"}
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_before_it(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    assert [f"{file}: {said}" for file in files for said in upward(file.read_text("utf-8"), room)] == []


def test_an_import_inside_a_function_and_one_for_types_count() -> None:
    source = "if TYPE_CHECKING:\n    from adversaria.systems.gan import GAN\ndef f():\n    from adversaria import cli\n"
    assert upward(source, "nn") == [
        "nn imports systems (adversaria.systems.gan.GAN), which comes after it",
        "nn imports cli (adversaria.cli), which comes after it",
    ]
    assert upward(source, "cli") == []


def test_tests_lie_in_the_rooms_of_what_they_test() -> None:
    folders = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders <= {*ROOMS, "parity", "repository", "experiments"}


def test_every_package_says_what_it_is() -> None:
    for folder in (PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and list(path.glob("*.py")))):
        assert ast.get_docstring(ast.parse(Path(folder / "__init__.py").read_text("utf-8"))), folder


def test_decisions_stand_in_the_order_of_the_rooms() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "docs" / "decisions.md").read_text("utf-8"), re.MULTILINE)
    others = ["The order of the rooms", "Studies", "Tests and benchmarks", "Habits"]
    assert sections == [others[0], *(room for room in ROOMS if room in sections), *others[1:]]


def test_contributors_are_told_the_rooms_in_their_order() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert table == ROOMS
