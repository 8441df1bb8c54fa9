"""The report as Markdown, CSV and LaTeX: every number is there, and nothing from a run is taken for markup."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from adversaria.reporting.compare import find_runs, make_sections, read_runs, write_report
from adversaria.reporting.compare.text import escape_latex, escape_markdown

MakeRun = Callable[..., Path]
HOSTILE = "<img src=x onerror=alert(1)>|a_b&amp;$x^2$%\\~{}#`*"


@pytest.fixture(scope="module")
def report(make_run_in: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configurations, one of them with a name full of markup, and a run that diverged."""
    folder = tmp_path_factory.mktemp("text")
    make_run = functools.partial(make_run_in, folder)
    more = {"classifier_kid10k": 0.0123456789012345, "classifier_kid10k_std": 0.001}
    for seed, value in ((1, 4.0), (2, 4.123456789012345)):
        make_run(f"a{seed}", overrides=["model=dcgan", f"seed={seed}"], curve=[9.0, value], scores=more, pictures=True)
    make_run("b", overrides=[f"model='{HOSTILE}'"], curve=[9.0, 7.0], scores=more, pictures=True)
    make_run(
        "c", overrides=["model=dcgan", "seed=3"], curve=[9.0], status="diverged", scores={"classifier_kid10k": None}
    )
    records, _ = read_runs(find_runs([str(folder)]))
    write_report(make_sections(records), folder / "report", [f"{HOSTILE} is left out"])
    return folder / "report"


def test_csv_has_a_row_for_each_run_with_all_digits(report: Path) -> None:
    rows = {Path(row["run"]).name: row for row in csv.DictReader(io.StringIO((report / "report.csv").read_text()))}
    assert set(rows) == {"a1", "a2", "b", "c"}
    assert float(rows["a2"]["final/classifier_fid10k"]) == 4.123456789012345
    assert float(rows["a2"]["final/classifier_kid10k"]) == 0.0123456789012345
    assert float(rows["a1"]["cost/flops/generator"]) == 123_000_000
    assert rows["a1"]["fingerprint/reference_count"] == "1433"
    assert (rows["c"]["status"], rows["c"]["final/classifier_kid10k"]) == ("diverged", "")
    assert rows["b"]["configuration"] == f"model='{HOSTILE}'"


def test_tables_in_markdown_have_as_many_fields_as_heads(report: Path) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", (report / "report.md").read_text(), re.MULTILINE)
    assert len(tables) >= 5
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_markdown_names_its_figures(report: Path) -> None:
    for name in ("curves", "samples"):
        assert f"](figures/{name}.png)" in (report / "report.md").read_text()
        assert (report / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(report / "figures" / f"{name}.png") as image:
            assert len(image.convert("RGB").getcolors(2**20) or []) > 20  # something is drawn


def test_markup_in_names_stays_text(report: Path) -> None:
    assert "<img" not in (report / "report.md").read_text()
    pictures: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            named = dict(attributes)
            assert not any(name.startswith("on") for name in named)
            assert tag not in ("script", "link", "iframe")
            if tag == "img":
                pictures.append(named["src"] or "")

    Tags().feed((report / "report.html").read_text())
    assert len(pictures) == 3
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    assert not re.search(r"(?:src|href)=.https?:", (report / "report.html").read_text())


def test_latex_has_no_bare_special_characters(report: Path) -> None:
    text = (report / "report.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    for row in rows:
        assert not re.search(r"(?<!\\)[%#_]", row)
        assert row.isascii()
    assert r"\textbf{4.06 $\pm$ 0.78}" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_escapes_are_complete() -> None:
    assert escape_latex("a_b & 50% \\ {x}^~") == (
        r"a\_b \& 50\% \textbackslash{} \{x\}\textasciicircum{}\textasciitilde{}"
    )
    assert escape_markdown("class_kl_ |*x*| <b>") == r"class_kl\_ \|\*x\*\| &lt;b>"
