"""What a report shows in tables, apart from how a page, a text or LaTeX writes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from adversaria.core.text import shown
from adversaria.reporting.compare.formatting import NOTHING, estimate, number, scaled
from adversaria.reporting.compare.names import differing_keys
from adversaria.reporting.compare.runs import RunRecord, canonical
from adversaria.reporting.compare.sections import Configuration, Section
from adversaria.reporting.compare.statistics import MAIN, Estimate, ScoreName, spread_name

Mark = Literal["", "best", "tie", "unknown"]
#: what stands behind a number
SIGNS: dict[Mark, str] = {"": "", "best": "", "tie": " ≈", "unknown": " ?"}
_SCORES_IN_A_TABLE = 6
ARROWS = {1: " ↑", -1: " ↓", 0: ""}


@dataclass(frozen=True)
class Cell:
    """One field of a table.

    Attributes:
        text: what it says.
        mark: how its number compares with the best of its column.
        note: something smaller below it.
        shade: 0 (worst) to 1 (best) in a matrix; None: not shaded.
        color: number of the configuration whose colour stands before it; None: none.
    """

    text: str
    mark: Mark = ""
    note: str = ""
    shade: float | None = None
    color: int | None = None


#: its head, and what it says of a configuration
Column = tuple[str, Callable[[Configuration], Cell]]


@dataclass(frozen=True)
class Table:
    """A table: the first column names the rows, the others hold numbers unless ``prose``."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    prose: bool = False


def overview(section: Section) -> Table:
    """The shortest answer, for a screen."""
    columns: list[Column] = [("n", _n)]
    if section.monitor is not None:
        columns.append(_score_column(section, section.monitor))
        columns.append(("at its best", _best_column(section.monitor)))
    columns.append(("images/s", lambda c: Cell(estimate(_speed(c)))))
    return _by_configuration("Overview", section, columns, "")


def quality(section: Section) -> Table:
    """The monitored score at the end and at its best, a few others, and what a second of training gives."""
    assert section.monitor is not None
    others = [score for score in _main_scores(section) if score != section.monitor]
    columns = [
        ("n", _n),
        _score_column(section, section.monitor),
        (f"at its best{ARROWS[section.direction(section.monitor)]}", _best_column(section.monitor)),
        ("images/s", lambda c: Cell(estimate(_speed(c)))),
        *(_score_column(section, score) for score in others),
    ]
    return _by_configuration("Quality", section, columns, quality_note(section))


def all_scores(section: Section) -> list[Table]:
    """Every score, final and at the best checkpoint, in tables that fit a page."""
    scores = section.scores
    size = math.ceil(len(scores) / math.ceil(len(scores) / _SCORES_IN_A_TABLE))
    parts = [scores[i : i + size] for i in range(0, len(scores), size)]
    note = (
        "“best”: the same score at the checkpoint with the best monitored score; “sd”: the standard deviation over"
        " subsets of the samples within a run, averaged over runs."
    )
    made = []
    for k, part in enumerate(parts, 1):
        columns = [_score_column(section, score, details=True) for score in part]
        title = "All scores" + (f" ({k} of {len(parts)})" if len(parts) > 1 else "")
        made.append(_by_configuration(title, section, columns, note if k == len(parts) else ""))
    return made


def cost(section: Section) -> Table:
    """Speed, size, arithmetic, memory and latency."""
    networks = dict.fromkeys(
        name for run in section.runs for name in (run.result.get("cost") or {}).get("parameters", {})
    )
    batches = dict.fromkeys(
        batch for run in section.runs for batch in (run.result.get("cost") or {}).get("latency_ms", {})
    )
    columns: list[Column] = [
        ("images/s", lambda c: Cell(estimate(_speed(c)))),
        ("s per 1,000 images", lambda c: Cell(estimate(_slowness(c)))),
    ]
    for network in networks:
        columns.append((f"{network} parameters", _cost_column(scaled, "parameters", network)))
    for network in networks:
        columns.append((f"{network} FLOPs", _flops_column(network)))
    columns.append(("peak memory, MiB", _cost_column(number, "peak_memory_mib")))
    for batch in batches:
        columns.append((f"ms for a batch of {batch}", _cost_column(number, "latency_ms", batch)))
    return _by_configuration("Cost", section, columns, _cost_note(section))


def stability(section: Section) -> Table:
    """How runs ended, how large gradients became, and what was lost after the best checkpoint."""
    columns: list[Column] = [
        ("runs", lambda c: Cell(str(len(c.runs)))),
        *((status, _status_column(status)) for status in ("finished", "stopped", "diverged", "unhealthy")),
        ("rolled back", lambda c: Cell(str(sum(run.rolled_back for run in c.runs)))),
        ("largest gradient norm", lambda c: Cell(number(_largest([run.largest_gradient_norm for run in c.runs])))),
    ]
    note = "Gradient norms are before clipping, over all logged steps and networks of all runs."
    if (monitor := section.monitor) is not None:
        columns += [
            ("last − best", lambda c: Cell(estimate(_degradation(c, monitor, lambda last, best: last - best)))),
            ("last / best", lambda c: Cell(estimate(_degradation(c, monitor, _ratio)))),
        ]
        note += f" The last two are of {monitor}: at the end against at its best."
    return _by_configuration("Stability", section, columns, note)


def matrix(section: Section) -> Table | None:
    """The monitored score as rows and columns, where two choices vary and three quarters of their pairs were run."""
    configurations = [c for c in section.configurations if not c.rolled_back]
    keys = list(configurations[0].settings) if configurations else []
    if section.monitor is None or len(keys) != 2:
        return None
    rows, columns = ([*dict.fromkeys(sorted(c.settings[key] for c in configurations))] for key in keys)
    by_pair = {(c.settings[keys[0]], c.settings[keys[1]]): c for c in configurations}
    if min(len(rows), len(columns)) < 2 or len(by_pair) < 0.75 * len(rows) * len(columns):
        return None
    sign = section.direction(section.monitor)
    grid = [[_matrix_cell(section, by_pair.get((row, column))) for column in columns] for row in rows]
    return Table(
        f"{section.monitor}{ARROWS[sign]} by {keys[0]} and {keys[1]}",
        (f"{keys[0]} \\ {keys[1]}", *columns),
        tuple((Cell(row), *cells) for row, cells in zip(rows, grid, strict=True)),
        "The stronger the shade, the better." if sign else "",
    )


def differences(section: Section) -> Table | None:
    """Every key in which the configurations differ; None for a single one."""
    configs = [c.config for c in section.configurations]
    keys = sorted(differing_keys(configs))
    if not keys:
        return None
    rows = [
        (Cell(key), *(Cell(canonical(c.get(key)).strip('"') if key in c else NOTHING) for c in configs)) for key in keys
    ]
    names = tuple(c.name for c in section.configurations)
    return Table("All keys that differ", ("key", *names), tuple(rows), prose=True)


def run_list(section: Section) -> Table:
    """One row for each run: how it ended, and its monitored score, whether it was averaged or not."""
    monitor = section.monitor
    scores = () if monitor is None else (monitor, "at its best", "best after updates")
    rows = [_run_row(run, i, monitor) for i, c in enumerate(section.configurations) for run in c.runs]
    columns = ("run", "seed", "status", "rollbacks", "updates", "images seen", "seconds", *scores)
    return Table("Runs", columns, tuple(rows))


def fingerprint(section: Section) -> Table:
    """Every key of the fingerprints."""
    made = section.fingerprints
    keys = dict.fromkeys(key for fingerprint in made.values() for key in fingerprint)
    rows = tuple((Cell(key), *(Cell(str(each.get(key, NOTHING))) for each in made.values())) for key in keys)
    columns = ("key", *(made if len(made) > 1 else ("value",)))
    return Table("How the scores were made", columns, rows, prose=True)


def quality_note(section: Section) -> str:
    """What the signs in a table of scores mean."""
    tested = any(c.final(s).n >= 2 for c in section.configurations for s in section.scores)
    single = any(c.final(s).n == 1 for c in section.configurations for s in section.scores)
    several = len(section.configurations) > 1
    sentences = ["Means of the finished runs; n is their number."]
    if tested:
        sentences.append("± is half of the 95% interval of the mean over seeds (Student's t).")
    if several:
        sentences.append("Bold: the best.")
    if tested and several:
        sentences.append("≈: not distinguishable from the best (Welch's t-test, p > 0.05, each comparison by itself).")
    if single and several:
        sentences.append("?: with a single seed on either side nothing can be said about the difference.")
    elif single:
        sentences.append("A single seed has no interval.")
    return " ".join(sentences)


def _by_configuration(title: str, section: Section, columns: Sequence[Column], note: str) -> Table:
    rows = [(Cell(c.name, color=i), *(make(c) for _, make in columns)) for i, c in enumerate(section.configurations)]
    return Table(title, ("configuration", *(head for head, _ in columns)), tuple(rows), note)


def _matrix_cell(section: Section, configuration: Configuration | None) -> Cell:
    """The monitored score of a pair of choices, shaded from the worst (0) to the best (1) of the section."""
    monitor = section.monitor or ""
    if configuration is None:
        return Cell(NOTHING, note="not run")
    value = configuration.final(monitor)
    if not value.n:
        return Cell(NOTHING, note="none finished")
    means = [c.final(monitor).mean for c in section.configurations if c.final(monitor).n]
    sign, spread = section.direction(monitor), max(means) - min(means)
    worst = min(means) if sign > 0 else max(means)
    shade = abs(value.mean - worst) / spread if sign and spread else None
    return Cell(estimate(value), _mark(section, configuration, monitor), f"n = {value.n}", shade)


def _main_scores(section: Section) -> list[str]:
    """The monitored score and those of `MAIN` made by the same extractor from as many samples."""
    assert section.monitor is not None
    like = ScoreName.parse(section.monitor)
    parsed = {score: ScoreName.parse(score) for score in section.scores}
    chosen = [score for score, name in parsed.items() if name._replace(stem="") == like._replace(stem="")]
    ranked = sorted((s for s in chosen if parsed[s].stem in MAIN), key=lambda s: MAIN.index(parsed[s].stem))
    return [section.monitor, *(score for score in ranked if score != section.monitor)]


def _score_column(section: Section, score: str, *, details: bool = False) -> Column:
    names = [name for run in section.runs for name in run.scores]
    deviation = spread_name(score, names) if details else None

    def cell(c: Configuration) -> Cell:
        value, notes = c.final(score), []
        if value.n and value.n != len(c.finished):
            notes.append(f"n = {value.n}")
        if details and c.at_best(score).n:
            notes.append(f"best {estimate(c.at_best(score))}")
        if deviation and c.final(deviation).n:
            notes.append(f"sd {number(c.final(deviation).mean)}")
        return Cell(estimate(value), _mark(section, c, score), "; ".join(notes))

    return f"{score}{ARROWS[section.direction(score)]}", cell


def _best_column(score: str) -> Callable[[Configuration], Cell]:
    return lambda c: Cell(estimate(c.at_best(score)))


def _mark(section: Section, configuration: Configuration, score: str) -> Mark:
    best = section.best(score)
    if best is None or len(section.configurations) == 1 or not configuration.final(score).n:
        return ""
    if configuration is best:
        return "best"
    marks: dict[bool | None, Mark] = {True: "", False: "tie", None: "unknown"}
    return marks[section.differs_from_best(configuration, score)]


def _n(configuration: Configuration) -> Cell:
    """The number of averaged runs, and what became of the others."""
    lost = [f"{n} {status}" for status in ("stopped", "diverged", "unhealthy") if (n := configuration.count(status))]
    return Cell(str(len(configuration.finished)), note=", ".join(lost))


def _speed(configuration: Configuration) -> Estimate:
    return Estimate.of(run.images_per_second for run in _measured(configuration))


def _measured(configuration: Configuration) -> Sequence[RunRecord]:
    """The runs whose cost is averaged: a run that did not finish has one too, if there is no other."""
    return configuration.finished or configuration.runs


def _slowness(configuration: Configuration) -> Estimate:
    return Estimate(tuple(1000 / speed for speed in _speed(configuration).values if speed))


def _cost_column(write: Callable[[float | None], str], *keys: str) -> Callable[[Configuration], Cell]:
    def cell(configuration: Configuration) -> Cell:
        value = Estimate.of(run.cost(*keys) for run in _measured(configuration))
        return Cell(write(value.mean))

    return cell


def _flops_column(network: str) -> Callable[[Configuration], Cell]:
    counted = _cost_column(scaled, "flops", network)

    def cell(configuration: Configuration) -> Cell:
        has_network = any(run.cost("parameters", network) is not None for run in _measured(configuration))
        known = any(run.cost("flops", network) is not None for run in _measured(configuration))
        return Cell("unknown") if has_network and not known else counted(configuration)

    return cell


def _cost_note(section: Section) -> str:
    sentences = [
        "Means of the finished runs, or of all where none finished.",
        "FLOPs are of one forward pass for one sample, a multiply-add counted as two.",
        "The time for a batch is that of sampling it, latents included.",
        "Peak memory is the device's, or on a CPU that of the process.",
    ]
    devices = dict.fromkeys(run.device for run in section.runs if run.device)
    if len(devices) == 1:
        sentences.append(f"Measured on: {next(iter(devices))}.")
    elif devices:
        sentences.append(f"The runs were on different machines, so do not compare times: {'; '.join(devices)}.")
    return " ".join(sentences)


def _status_column(status: str) -> Callable[[Configuration], Cell]:
    return lambda c: Cell(str(c.count(status)))


def _degradation(configuration: Configuration, score: str, of: Callable[[float, float], float | None]) -> Estimate:
    pairs = [(run.scores.get(score), run.scores_at_best.get(score)) for run in configuration.finished]
    return Estimate.of(of(last, best) for last, best in pairs if last is not None and best is not None)


def _ratio(last: float, best: float) -> float | None:
    return last / best if best else None


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _run_row(run: RunRecord, color: int, monitor: str | None) -> tuple[Cell, ...]:
    result = run.result
    rollbacks = result.get("rollbacks") or []
    count = rollbacks if isinstance(rollbacks, int) else len(rollbacks)  # their number, as it was written at first
    counts = (count, result["generator_updates"], result["images_seen"])
    cells = [
        Cell(shown(run.path), color=color),
        Cell(str(run.seed)),
        Cell(run.status),
        *(Cell(number(c)) for c in counts),
    ]
    cells.append(Cell(number(float(result["seconds"]))))
    if monitor is not None:
        step = run.best["step"] if run.best else None
        cells += [
            Cell(number(run.scores.get(monitor))),
            Cell(number(run.scores_at_best.get(monitor))),
            Cell(number(step)),
        ]
    return tuple(cells)
