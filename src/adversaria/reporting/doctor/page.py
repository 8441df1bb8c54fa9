"""The diagnosis as one HTML file that needs no other."""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from adversaria.config.plain import conf_dir
from adversaria.core.files import write_text
from adversaria.core.text import shown
from adversaria.reporting.doctor.figures import draw
from adversaria.reporting.doctor.history import History, Segment
from adversaria.reporting.doctor.panels import THEMES

#: of every detector what all have, before its thresholds
_COMMON = ("patience", "after")


def write_page(history: History) -> Path:
    """Writes ``doctor.html`` into the run's folder, over an earlier one.

    Raises:
        OSError: the folder cannot be written.
    """
    path = history.path / "doctor.html"
    write_text(path, page(history))
    return path


def page(history: History) -> str:
    """The page; whatever comes from the run is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_text("adversaria.reporting.doctor", "page.html"))
    sections = [
        {"title": theme.title, "reading": theme.reading, "figures": [Markup(svg) for svg in figures]}
        for theme in THEMES
        if (figures := [svg for panel in theme.panels_of(history.networks) for svg in draw(history, panel)])
    ]
    return template.render(
        style=Markup(
            _text("adversaria.reporting.compare", "page.css") + _text("adversaria.reporting.doctor", "page.css")
        ),
        name=shown(history.path.resolve().name),
        path=shown(history.path),
        verdict=verdict(history),
        healthy=not any(segment.findings for segment in history.segments),
        status=history.status,
        notes=_notes(history),
        findings=_findings(history.now, history),
        given_up=[
            {"record": segment.rollback, "findings": _findings(segment, history)} for segment in history.given_up
        ],
        detectors=_detectors(history),
        sections=sections,
    )


def verdict(history: History) -> str:
    """What was found, in one sentence."""
    names = [finding.detector for finding in history.now.findings]
    readings, count = len(history.now.readings), len(history.now.examination.detectors)
    where = f"{readings} reading{'s' if readings != 1 else ''}"
    back = len(history.given_up)
    after = f", after {back} rollback{'s' if back != 1 else ''}" if back else ""
    if not names:
        return f"Healthy{after}: none of {count} detectors found anything in {where}"
    return f"Unhealthy{after}: {', '.join(names)} found in {where}"


def _notes(history: History) -> list[str]:
    """What the reader must know about how the findings came about."""
    notes = []
    if not history.measured:
        notes.append(
            "This run did not measure its health (callbacks.health): what is said rests on what else it logged, and "
            "most detectors have nothing to look at."
        )
    elif not history.own_detectors:
        notes.append("The run's config names no detectors: these are those of conf/callbacks/health.yaml.")
    if history.unsuited:
        notes.append(
            f"Left out: {', '.join(history.unsuited)}. What they look for is no failure of this system, or of samples "
            "of this kind."
        )
    if history.overridden:
        changed = ", ".join(f"{name}={value}" for name, value in history.overridden.items())
        notes.append(f"Thresholds other than those of the run: {changed}. Its own diagnosis may have been another one.")
    return notes


def _findings(segment: Segment, history: History) -> list[dict[str, Any]]:
    """Each of ``segment``'s findings as the template shows it."""
    examination = segment.examination
    last = int(segment.readings[-1]["step"]) if segment.readings else 0
    return [
        {
            "detector": finding.detector,
            "step": finding.step,
            "evidence": finding.evidence,
            "explanation": examination.detectors[finding.detector].explanation,
            "advice": examination.detectors[finding.detector].advice,
            "link": _link(history.path, finding.detector),
            "since": f"still there at the last reading, {last}"
            if finding.detector in examination.suspects
            else f"no longer seen at the last reading, {last}"
            if last > finding.step
            else "",
        }
        for finding in segment.findings
    ]


def _link(folder: Path, detector: str) -> str:
    """From ``folder`` to what docs/stability.md says; empty where the docs are not beside the configs."""
    document = conf_dir().parent / "docs" / "stability.md"
    if not document.is_file():
        return ""
    return f"{Path(os.path.relpath(document, folder.resolve())).as_posix()}#{detector}"


def _detectors(history: History) -> list[dict[str, Any]]:
    """A row for each detector: what it found, in how many readings, by which thresholds."""
    segment, rows = history.now, []
    found = {finding.detector: finding.step for finding in segment.findings}
    for name, detector in segment.examination.detectors.items():
        thresholds = asdict(detector)
        ordered = [*(n for n in thresholds if n not in _COMMON), *_COMMON]
        judged = segment.judged(name)
        rows.append(
            {
                "name": name,
                "state": "found" if name in found else "clear" if judged else "not judged",
                "words": f"found at {found[name]}"
                if name in found
                else "clear"
                if judged
                else f"not judged: needs {' or '.join(detector.needs) or 'more readings'}",
                "judged": judged,
                "thresholds": ", ".join(f"{n} {thresholds[n]:g}" for n in ordered),
            }
        )
    return rows


def _text(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")
