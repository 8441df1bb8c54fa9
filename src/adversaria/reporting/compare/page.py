"""A report as one HTML file that needs no other."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from adversaria.reporting.compare import figures, tables, words
from adversaria.reporting.compare.sections import Section
from adversaria.reporting.compare.tables import SIGNS

#: letters of a word that fits the narrowest column
_LONG = 16


def page(sections: Sequence[Section], warnings: Sequence[str]) -> str:
    """The page; whatever comes from runs is escaped."""
    here = resources.files("adversaria.reporting.compare")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["soft"] = _soft
    template = environment.from_string((here / "page.html").read_text(encoding="utf-8"))
    return template.render(
        style=Markup((here / "page.css").read_text(encoding="utf-8")),
        title=words.title(sections),
        why_apart=words.different_ways(sections),
        sections=[_section(section) for section in sections],
        warnings=warnings,
        look=figures.look,
        signs=SIGNS,
    )


def _soft(text: str) -> Markup:
    """Escaped ``text``, where words that are too long for a narrow column may be broken after a separator."""
    words = (
        re.sub(r"([=/._]+)", r"\1<wbr>", str(escape(word))) if len(word) > _LONG else escape(word)
        for word in text.split(" ")
    )
    return Markup(" ".join(words))


def _section(section: Section) -> dict[str, Any]:
    """What the template shows of a section, in its order."""
    scored = section.monitor is not None
    return {
        "letter": section.letter,
        "heading": words.heading(section) if section.letter else "",
        "summary": words.summary(section),
        "how_scored": words.how_scored(section),
        "quality": [table for table in (tables.quality(section), tables.matrix(section)) if table] if scored else [],
        "names": [configuration.name for configuration in section.configurations],
        "curves": [Markup(svg) for axis in figures.AXES if (svg := figures.curves_svg(section, axis))],
        "samples": [
            (name, base64.b64encode(figures.png(image)).decode()) for name, image in figures.sample_tiles(section)
        ],
        "rest": [tables.cost(section), tables.stability(section)] + (tables.all_scores(section) if scored else []),
        "details": [
            table
            for table in (
                tables.run_list(section),
                tables.differences(section),
                tables.fingerprint(section) if section.fingerprints else None,
            )
            if table
        ],
    }
