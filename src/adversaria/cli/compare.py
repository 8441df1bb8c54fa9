"""``python compare.py outputs/sweeps/seeds``: which of these runs is better, by how much, and at what cost."""

from __future__ import annotations

import logging
from pathlib import Path

from adversaria.cli import app
from adversaria.cli.arguments import chosen, is_choice, quoted
from adversaria.config.fields import check_fields
from adversaria.config.plain import Plain
from adversaria.core.errors import UserError
from adversaria.core.text import shown

log = logging.getLogger("adversaria")


def main() -> int:
    """The command; returns its exit code."""
    return app.run("compare", job, app.completing(name_runs))


def name_runs(arguments: list[str]) -> list[str]:
    """``arguments`` with those that are plain paths gathered into ``runs=[...]``.

    Raises:
        UserError: paths stand beside ``runs=``.
    """
    are_paths = [
        choice and _is_path(argument) for argument, choice in zip(arguments, is_choice(arguments), strict=True)
    ]
    paths = [argument for argument, is_path in zip(arguments, are_paths, strict=True) if is_path]
    others = [argument for argument, is_path in zip(arguments, are_paths, strict=True) if not is_path]
    if not paths:
        return arguments
    if chosen(others, "runs") is not None:
        raise UserError(f"{shown(paths[0])} stands beside runs=; name all runs in one way")
    return [*others, f"runs=[{','.join(map(quoted, paths))}]"]


def _is_path(argument: str) -> bool:
    """Whether it is a path and no choice: it exists, or cannot be a choice."""
    if Path(argument).exists() or argument.startswith("~/"):
        return True
    return not (argument.startswith("~") or "=" in argument)  # ~name deletes a key


def job(config: Plain) -> int:
    """Finds and reads the runs, writes the report and prints its first table."""
    from adversaria.reporting.compare import find_runs, make_sections, read_runs, tables, text, words, write_report

    check_fields("compare", config)
    given = [str(path) for path in (config["runs"] if isinstance(config["runs"], list) else [config["runs"]])]
    records, warnings = read_runs(find_runs(given))
    for warning in warnings:
        log.warning("%s", warning)
    if not records:
        raise UserError(f"runs={','.join(given)} holds no run that can be compared; see above for each")
    sections = make_sections(records, strict=config["strict"])
    out = Path(config["out"] or _default_folder(given)).expanduser()
    if out.is_file():
        raise UserError(f"out={out} is a file; name a folder, in which report.html and the others are written")
    write_report(sections, out, warnings)
    if difference := words.different_ways(sections):
        log.info("%s", difference)
    for section in sections:
        log.info("%s%s", f"{section.letter}: " if section.letter else "", words.summary(section))
        log.info("%s", text.markdown_table(tables.overview(section)))
    log.info("%-10s %s", "report", out / "report.html")
    return 0


def _default_folder(given: list[str]) -> Path:
    """``report/`` in the one folder that was named, else in the current one."""
    only = Path(given[0]).expanduser() if len(given) == 1 else Path()
    return (only if only.is_dir() else Path()) / "report"
