"""A report as Markdown, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adversaria.core.text import shown
from adversaria.reporting.compare import tables
from adversaria.reporting.compare.runs import RunRecord
from adversaria.reporting.compare.sections import Section
from adversaria.reporting.compare.tables import SIGNS, Cell, Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "≈": r"$\approx$",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "−": r"$-$",
    "∞": r"$\infty$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_markdown(text: str) -> str:
    """``text`` so that Markdown shows it as it is; underscores within words need no help."""
    text = re.sub(r"([\\|*`\[\]#~$])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text).replace("\n", " ")


def escape_latex(text: str) -> str:
    """``text`` so that LaTeX prints it as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def markdown_table(table: Table) -> str:
    """The table alone, without title and note."""
    lines = [[escape_markdown(column) for column in table.columns]]
    lines.append(["---" if table.prose or i == 0 else "---:" for i in range(len(table.columns))])
    lines += [[_markdown_cell(cell) for cell in row] for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown(title: str, parts: Sequence[str | Table | Path], out: Path) -> str:
    """A document: strings are paragraphs (or headings that begin with #), paths are pictures."""
    blocks = [f"# {escape_markdown(title)}"]
    for part in parts:
        if isinstance(part, Table):
            blocks += [f"### {escape_markdown(part.title)}", markdown_table(part).rstrip("\n")]
            blocks += [escape_markdown(part.note)] if part.note else []
        elif isinstance(part, Path):
            blocks.append(f"![{part.stem}]({part.relative_to(out).as_posix()})")
        else:
            marks, text = re.fullmatch(r"(#* ?)(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
            blocks.append(marks + escape_markdown(text))
    return "\n\n".join(blocks) + "\n"


def as_csv(sections: Sequence[Section]) -> str:
    """One row for each run, every number as it was written."""
    rows = [
        {"section": section.letter, "configuration": configuration.name, **_csv_row(run), **configuration.settings}
        for section in sections
        for configuration in section.configurations
        for run in configuration.runs
    ]
    columns = dict.fromkeys(column for row in rows for column in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def latex(sections: Sequence[Section], captions: Sequence[str]) -> str:
    """A booktabs table for each section."""
    made = []
    for section, caption in zip(sections, captions, strict=True):
        table = tables.quality(section) if section.monitor else tables.cost(section)
        made.append(_latex_table(table, f"{caption} {table.note}", f"tab:comparison{section.letter.lower()}"))
    return "% needs \\usepackage{booktabs}\n" + "\n".join(made)


def _latex_table(table: Table, caption: str, label: str) -> str:
    head = " & ".join(escape_latex(column) for column in table.columns)
    body = "".join(f"  {' & '.join(_latex_cell(cell) for cell in row)} \\\\\n" for row in table.rows)
    return (
        "\\begin{table}\n  \\centering\n"
        f"  \\caption{{{escape_latex(caption)}}}\n  \\label{{{label}}}\n"
        f"  \\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}\n  \\toprule\n"
        f"  {head} \\\\\n  \\midrule\n{body}  \\bottomrule\n  \\end{{tabular}}\n\\end{{table}}\n"
    )


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.mark == "best" else text
    return text + SIGNS[cell.mark] + (f" ({escape_markdown(cell.note)})" if cell.note else "")


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    text = f"\\textbf{{{text}}}" if cell.mark == "best" else text
    return text + escape_latex(SIGNS[cell.mark]) + (f" ({escape_latex(cell.note)})" if cell.note else "")


def _csv_row(run: RunRecord) -> dict[str, Any]:
    result = run.result
    row: dict[str, Any] = {"run": shown(run.path, 4096), "seed": run.seed, "device": run.device}
    row |= {key: value for key, value in result.items() if not isinstance(value, dict | list)}
    row["best_step"] = run.best["step"] if run.best else None
    row["largest_gradient_norm"] = run.largest_gradient_norm
    for network, costs in (result.get("cost") or {}).items():
        row |= (
            {f"cost/{network}/{key}": value for key, value in costs.items()}
            if isinstance(costs, dict)
            else {f"cost/{network}": costs}
        )
    row |= {f"final/{name}": value for name, value in (result.get("metrics") or {}).items()}
    row |= {f"at_best/{name}": value for name, value in run.scores_at_best.items()}
    return row | {f"fingerprint/{name}": value for name, value in run.fingerprint.items()}
