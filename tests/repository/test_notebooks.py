"""The notebooks of ``docs/notebooks``: well-formed, executed, and they run."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LARGEST = 1_000_000  # bytes

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def notebooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``docs/notebooks.py``, which draws without a screen."""
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import notebooks

    return notebooks


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@each
def test_is_a_notebook_of_format_4_5(path: Path) -> None:
    """The required fields of https://nbformat.readthedocs.io/en/latest/format_description.html."""
    notebook = json.loads(path.read_text())
    assert {"cells", "metadata", "nbformat", "nbformat_minor"} == set(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert {"name", "display_name"} <= set(notebook["metadata"]["kernelspec"])
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert isinstance(cell["metadata"], dict)
        assert all(isinstance(line, str) for line in cell["source"])
        code = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert cell["cell_type"] in ("code", "markdown")
        assert {"id", "cell_type", "metadata", "source"} | code == set(cell)


@each
def test_is_committed_with_its_outputs_from_top_to_bottom(path: Path, notebooks: Any) -> None:
    notebook = json.loads(path.read_text())
    assert notebooks.faults(notebook) == []
    outputs = [output for cell in notebooks.code_cells(notebook) for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size <= LARGEST


@each
def test_code_compiles(path: Path, notebooks: Any) -> None:
    for cell in notebooks.code_cells(json.loads(path.read_text())):
        compile(notebooks.python_of("".join(cell["source"])), path.name, "exec")


@each
def test_links_lead_somewhere(path: Path) -> None:
    """Files beside the notebook, and headings by Jupyter's anchors: the text with hyphens for spaces."""
    text = "\n".join(
        "".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "markdown"
    )
    anchors = {heading.replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = link.partition("#")
        if not file:
            assert anchor in anchors
        elif "://" not in file:
            assert (path.parent / file).exists()


def test_lines_of_ipython_become_python(notebooks: Any, tmp_path: Path) -> None:
    sources = ["%matplotlib inline\nx = 6", "for _ in range(2):\n    !echo {x * 7}", "x + 1"]
    cells = [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]
    notebooks.execute({"cells": cells}, tmp_path)
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3]
    assert cells[1]["outputs"] == [{"output_type": "stream", "name": "stdout", "text": ["42\n", "42\n"]}]
    assert cells[2]["outputs"][0]["data"] == {"text/plain": ["7"]}


def test_what_is_wrong_with_outputs_is_said(notebooks: Any) -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": ["written to ", "/home/me/out.png\n"]}
    figure = {"output_type": "display_data", "data": {"image/png": "/home/me", "text/plain": ["<Figure>"]}}
    cells = [
        {"cell_type": "markdown", "source": ["https://example.org/home/me, a/tmp/b and /tmp alone are fine"]},
        {"cell_type": "code", "execution_count": 2, "source": ["x = 'C:\\\\data'"], "outputs": [stream, figure]},
        {"cell_type": "code", "execution_count": 1, "source": ["y"], "outputs": [{"output_type": "error"}]},
    ]
    assert notebooks.faults({"cells": cells}) == [
        "cells were not run once from top to bottom: their counts are [2, 1]; run docs/notebooks.py",
        "cell 2 names /home/me/out.png, a file of one machine",
        "cell 2 names C:\\\\data, a file of one machine",
        "cell 3 shows an error",
    ]


def test_a_command_that_fails_is_not_passed_over(notebooks: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        notebooks.execute({"cells": [{"cell_type": "code", "source": ["!exit 3"]}]}, tmp_path)


@pytest.mark.slow
@each
def test_runs_from_top_to_bottom(path: Path, notebooks: Any, tmp_path: Path) -> None:
    notebook = json.loads(path.read_text())
    shown = copy.deepcopy(notebook)
    notebooks.execute(notebook, tmp_path)
    for before, after in zip(notebooks.code_cells(shown), notebooks.code_cells(notebook), strict=True):
        kinds = [[output["output_type"] for output in cell["outputs"]] for cell in (before, after)]
        assert kinds[0] == kinds[1], "".join(after["source"])
