"""What a report says in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adversaria.config.plain import Plain
from adversaria.reporting.compare.formatting import estimate
from adversaria.reporting.compare.sections import Section, fingerprint_difference

#: what is said of one and of several configurations by whether they differ from the best
_ANSWERS = {
    True: ("is worse (p ≤ 0.05)", "are worse (p ≤ 0.05)"),
    False: ("is within seed noise", "are within seed noise"),
    None: ("has too few seeds to tell", "have too few seeds to tell"),
}
_WEIGHTS = {"ema": " of the averaged (EMA) weights", "raw": " of the trained weights"}


def title(sections: Sequence[Section]) -> str:
    """Of the whole report."""
    runs = {run.path for section in sections for run in section.runs}
    configurations = {tuple(run.path for run in c.runs) for section in sections for c in section.configurations}
    return f"Comparison of {_count(len(configurations), 'configuration')} ({_count(len(runs), 'run')})"


def heading(section: Section) -> str:
    """Of a section among several."""
    if section.monitor is None:
        return f"{section.letter}: runs without scores"
    dataset = next((made.get("reference_dataset") for made in section.fingerprints.values()), None)
    return f"{section.letter}: {section.monitor}{f' against {dataset}' if dataset else ''}"


def summary(section: Section) -> str:
    """Which configuration is best, by how much, and how sure that is."""
    if section.monitor is None:
        return "These runs have no scores: what they cost and how stable they were is all there is to compare."
    best = section.best(section.monitor)
    if best is None:
        known = section.direction(section.monitor)
        reason = "no run finished with it" if known else "it is not known whether more or less of it is better"
        return f"No configuration is the best by {section.monitor}: {reason}."
    value = best.final(section.monitor)
    stated = f"{best.name}, {section.monitor} {estimate(value)} (n = {value.n})"
    others = [c for c in section.configurations if c is not best and c.final(section.monitor).n]
    if not others:
        return f"{stated}."
    answers = [section.differs_from_best(c, section.monitor) for c in others]
    parts = []
    for answer, (one, several) in _ANSWERS.items():
        if n := answers.count(answer):
            parts.append(f"{_count(n, 'other')} {one if n == 1 else several}")
    return f"Best: {stated}; {', '.join(parts)}."


def different_ways(sections: Sequence[Section]) -> str:
    """Why there are several tables; empty if there is one way of scoring."""
    scored = [section for section in sections if section.monitor or section.fingerprints]
    if len(scored) < 2:
        return ""
    fingerprints = [made for section in scored for made in section.fingerprints.values() or [{}]]
    return _capital(f"{fingerprint_difference(fingerprints)}: each has its own tables.")


def how_scored(section: Section) -> str:
    """Its fingerprints in words, as far as their keys are known; the table beside it has all of them."""
    made = {name: _in_words(fingerprint) for name, fingerprint in section.fingerprints.items()}
    return " ".join(f"{name}: {words}" if len(made) > 1 else words for name, words in made.items() if words)


def _in_words(fingerprint: Plain) -> str:
    get = fingerprint.get
    clauses = []
    if "fakes" in fingerprint:
        clauses.append(f"{_whole(get('fakes'))} samples{_WEIGHTS.get(str(get('weights')), '')}")
    if "reference_dataset" in fingerprint:
        count, split, dataset = (get(f"reference_{key}", "") for key in ("count", "split", "dataset"))
        clauses.append(f"compared with the {_whole(count)} samples of {dataset}'s {split} split")
    if "extractor" in fingerprint:
        weights = str(get("extractor_weights"))[:8]
        clauses.append(f"features of the extractor {get('extractor')} (weights {weights}; {get('resizer')})")
    if "evaluation_seed" in fingerprint:
        clauses.append(f"evaluation seed {get('evaluation_seed')}")
    return _capital(f"{', '.join(clauses)}.") if clauses else ""


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _whole(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
