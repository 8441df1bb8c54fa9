"""The comparison of runs: which is better, by how much, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adversaria.core.files import write_text
from adversaria.reporting.compare import figures, tables, text, words
from adversaria.reporting.compare.page import page
from adversaria.reporting.compare.runs import RunRecord, find_runs, read_runs
from adversaria.reporting.compare.sections import Section, make_sections
from adversaria.reporting.compare.tables import Table

__all__ = ["RunRecord", "Section", "find_runs", "make_sections", "read_runs", "write_report"]


def write_report(sections: Sequence[Section], out: Path, warnings: Sequence[str] = ()) -> None:
    """Writes ``report.html`` (complete in itself), ``.md``, ``.csv``, ``.tex`` and ``figures/`` to folder ``out``.

    Args:
        sections: as `make_sections` gives them.
        out: made if need be; files of an earlier report are replaced.
        warnings: sentences about what is missing, shown on top.

    Raises:
        OSError: ``out`` cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "report.html": page(sections, warnings),
        "report.md": text.markdown(words.title(sections), _parts(sections, out, warnings), out),
        "report.csv": text.as_csv(sections),
        "report.tex": text.latex(sections, [_caption(section) for section in sections]),
    }
    for name, content in files.items():
        write_text(out / name, content)


def _parts(sections: Sequence[Section], out: Path, warnings: Sequence[str]) -> list[str | Table | Path]:
    """The Markdown report in order; draws its figures."""
    parts: list[str | Table | Path | None] = [words.different_ways(sections) or None, *warnings]
    for section in sections:
        scored = section.monitor is not None
        parts += [f"## {words.heading(section)}"] if section.letter else []
        parts.append(words.summary(section))
        parts += [tables.quality(section), tables.matrix(section)] if scored else []
        if how := words.how_scored(section):
            parts.append(f"How the scores were made: {how}")
        parts += [figures.save_curves(section, out / "figures"), figures.save_samples(section, out / "figures")]
        parts += [tables.cost(section), tables.stability(section)]
        parts += tables.all_scores(section) if scored else []
        parts += [tables.run_list(section), tables.differences(section)]
        parts += [tables.fingerprint(section)] if section.fingerprints else []
    return [part for part in parts if part is not None]


def _caption(section: Section) -> str:
    return " ".join(filter(None, (words.summary(section), words.how_scored(section))))
