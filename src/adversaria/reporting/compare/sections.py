"""Runs in groups: those that may be averaged, and those whose scores may stand in one column."""

from __future__ import annotations

import functools
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adversaria.config.plain import Plain
from adversaria.core.errors import UserError
from adversaria.reporting.compare.names import differing_keys, name_settings, only_name, without_incidental
from adversaria.reporting.compare.runs import RunRecord, canonical
from adversaria.reporting.compare.statistics import Estimate, ScoreName, differ, without_spreads


@dataclass(frozen=True)
class Configuration:
    """Runs whose configs differ only in the seed and in incidental keys; all of them rolled back, or none.

    Attributes:
        name: unique within its section.
        settings: what the name is made of, by key.
        config: with dotted keys, without the incidental ones.
        runs: in the order of their seeds.
        rolled_back: whether they were ever set back.
    """

    name: str
    settings: dict[str, str]
    config: Plain
    runs: tuple[RunRecord, ...]
    rolled_back: bool

    @functools.cached_property
    def finished(self) -> tuple[RunRecord, ...]:
        """The runs that are averaged."""
        return tuple(run for run in self.runs if run.finished)

    def final(self, score: str) -> Estimate:
        """Of a score at the end of the finished runs."""
        return Estimate.of(run.scores.get(score) for run in self.finished)

    def at_best(self, score: str) -> Estimate:
        """Of a score at the best checkpoint of the finished runs."""
        return Estimate.of(run.scores_at_best.get(score) for run in self.finished)

    def count(self, status: str) -> int:
        """How many runs ended that way."""
        return sum(run.status == status for run in self.runs)


@dataclass(frozen=True)
class Section:
    """Configurations each score of which was made in one way, the best first.

    Attributes:
        letter: that it is called by; empty if it is the only one.
        fingerprints: how the scores were made, by the name of the metrics; empty if there are none.
        monitor: the score by which the best checkpoints were kept; None without scores.
        configurations: see above.
    """

    letter: str
    fingerprints: dict[str, Plain]
    monitor: str | None
    configurations: tuple[Configuration, ...]

    @property
    def runs(self) -> list[RunRecord]:
        """All of them."""
        return [run for configuration in self.configurations for run in configuration.runs]

    @functools.cached_property
    def scores(self) -> list[str]:
        """Every score, the monitored one first, without standard deviations within a run."""
        names = dict.fromkeys([self.monitor] if self.monitor else [])
        for run in self.runs:
            names |= dict.fromkeys([*run.scores, *run.scores_at_best])
        return without_spreads(names)

    def direction(self, score: str) -> int:
        """1 where more is better, -1 where less is, 0 where nothing tells.

        That of a score nobody knows shows if it is the monitored one: its best value is its smallest or its largest.
        """
        known = ScoreName.parse(score).direction
        if known or score != self.monitor:
            return known
        votes = {_direction_of_best(run, score) for run in self.runs} - {0}
        return votes.pop() if len(votes) == 1 else 0

    def best(self, score: str) -> Configuration | None:
        """The configuration with the best final mean; None if the direction is unknown or nothing was scored."""
        sign = self.direction(score)
        scored = [c for c in self.configurations if c.final(score).n]
        if not scored or not sign:
            return None
        return max(scored, key=lambda c: sign * c.final(score).mean)

    def differs_from_best(self, configuration: Configuration, score: str) -> bool | None:
        """Whether Welch's test tells ``configuration`` from the best one; None where it cannot be asked."""
        best = self.best(score)
        return None if best is None else differ(best.final(score), configuration.final(score))


def _direction_of_best(run: RunRecord, score: str) -> int:
    values = [value for *_, value in run.curve(score) if math.isfinite(value)]
    if run.best is None or run.best["name"] != score or not values or min(values) == max(values):
        return 0
    best = float(run.best["value"])
    # metrics.csv has six digits
    return -1 if math.isclose(best, min(values), rel_tol=1e-5) else int(math.isclose(best, max(values), rel_tol=1e-5))


def make_sections(runs: Sequence[RunRecord], *, strict: bool = False) -> list[Section]:
    """The runs by how their scores were made, then by configuration.

    Runs of several metrics stand in one section as long as these are the same, else in one for each of them. A run
    without fingerprint stands with the runs of its configuration that have one, else in a section of its own.

    Raises:
        UserError: ``strict``, and scores were made in several ways.
    """
    identities = {run.path: canonical(without_incidental(run.config)) for run in runs}
    members: dict[str, list[tuple[RunRecord, str]]] = {}  # by a fingerprint: runs, and their name of its metrics
    for run in runs:
        for name, fingerprint in run.fingerprints.items():
            members.setdefault(canonical(fingerprint), []).append((run, name))
    sections: dict[tuple[Path, ...], dict[Path, list[str]]] = {}  # by the paths of runs: the metrics of each
    for way in members.values():
        names = sections.setdefault(tuple(run.path for run, _ in way), {})
        for run, name in way:
            names.setdefault(run.path, []).append(name)
    by_path = {run.path: run for run in runs}
    groups = [[by_path[path].only(names) for path, names in section.items()] for section in sections.values()]
    if strict and len(groups) > 1:
        sentence = fingerprint_difference([made for group in groups for made in group[0].fingerprints.values()])
        raise UserError(f"{sentence}; leave out strict=true for a table of each, or score them alike with evaluate.py")
    homes = {identities[run.path]: group for group in groups for run in group}
    if unscored := [run for run in runs if not run.fingerprints]:
        apart: list[RunRecord] = []
        for run in unscored:
            homes.get(identities[run.path], apart).append(run)
        groups += [apart] if apart else []
    letters = [string.ascii_uppercase[i % 26] * (i // 26 + 1) for i in range(len(groups))]
    return [_section(group, letter if len(groups) > 1 else "") for group, letter in zip(groups, letters, strict=True)]


def fingerprint_difference(fingerprints: Sequence[Plain]) -> str:
    """One clause that says in what ``fingerprints`` differ."""
    differences = []
    for key in sorted(differing_keys(fingerprints)):
        values = dict.fromkeys("absent" if f.get(key) is None else str(f[key]) for f in fingerprints)
        differences.append(f"{key}: {' against '.join(values)}")
    return f"scores were made in {len(fingerprints)} ways that cannot be compared ({'; '.join(differences)})"


def _section(runs: Sequence[RunRecord], letter: str) -> Section:
    monitors = [run.best["name"] for run in runs if run.best]
    first_scores = [name for run in runs for name in run.scores]
    monitor = next(iter([*monitors, *first_scores]), None)
    made = {name: way for name, way in runs[0].fingerprints.items() if way}
    section = Section(letter, made, monitor, _configurations(runs))
    if monitor is None:
        return section
    sign = section.direction(monitor) or -1
    means = {c.name: c.final(monitor).mean for c in section.configurations}
    ordered = sorted(section.configurations, key=lambda c: (math.isnan(means[c.name]), -sign * means[c.name]))
    return Section(letter, made, monitor, tuple(ordered))


def _configurations(runs: Sequence[RunRecord]) -> tuple[Configuration, ...]:
    groups: dict[tuple[str, bool], list[RunRecord]] = {}
    for run in runs:
        groups.setdefault((canonical(without_incidental(run.config)), run.rolled_back), []).append(run)
    firsts = {identity: members[0] for (identity, _), members in groups.items()}
    configs = [without_incidental(run.config) for run in firsts.values()]
    if len(firsts) == 1:
        settings: list[dict[str, str]] = [{}]
        names = [only_name(next(iter(firsts.values())).overrides)]
    else:
        settings = name_settings(configs, [run.overrides for run in firsts.values()])
        names = [", ".join(f"{key}={value}" for key, value in each.items()) for each in settings]
    known = dict(zip(firsts, zip(names, settings, configs, strict=True), strict=True))
    return tuple(
        Configuration(
            name=known[identity][0] + (" (rolled back)" if rolled_back else ""),
            settings=known[identity][1],
            config=known[identity][2],
            runs=tuple(sorted(members, key=lambda run: (str(type(run.seed)), run.seed or 0))),
            rolled_back=rolled_back,
        )
        for (identity, rolled_back), members in groups.items()
    )
