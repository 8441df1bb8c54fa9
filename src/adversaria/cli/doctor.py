"""``python doctor.py outputs/mlp-ring8/...``: what a run suffers from, told afterwards or while it trains.

Exit code: 0 when the page was written, whatever it says; with ``strict=true`` 1 if something was found, so that a
script can act on it; 2 for what the user can put right, such as a folder without a run.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from adversaria.cli import app
from adversaria.cli.compare import name_runs
from adversaria.config.fields import check_fields
from adversaria.config.plain import Plain

if TYPE_CHECKING:
    from adversaria.reporting.doctor import History

log = logging.getLogger("adversaria")

#: exit code
FOUND = 1


def main() -> int:
    """The command; returns its exit code."""
    return app.run("doctor", job, app.completing(complete))


def complete(arguments: list[str]) -> list[str]:
    """``arguments`` with paths as ``runs=[...]``, and with those that begin with ``detectors.`` allowed to name what
    only the run's config knows.

    Raises:
        UserError: paths stand beside ``runs=``.
    """
    arguments = [f"++{argument}" if argument.startswith("detectors.") else argument for argument in arguments]
    return name_runs(arguments)


def job(config: Plain) -> int:
    """Examines each run anew, writes its page and prints what was found."""
    from adversaria.reporting.compare import find_runs
    from adversaria.reporting.doctor import read_history, write_page

    check_fields("doctor", config)
    given = [str(path) for path in (config["runs"] if isinstance(config["runs"], list) else [config["runs"]])]
    found = False
    for folder in find_runs(given):
        log.info("%-10s %s", "run", folder)
        history = read_history(folder, overrides=config["detectors"], trust=config["trust"])
        path = write_page(history)
        found |= _tell(history)
        log.info("%-10s %s", "page", path)
        log.info("%-10s %s", "run", folder)
    return FOUND if found and config["strict"] else 0


def _tell(history: History) -> bool:
    """Prints the diagnosis; whether anything was found."""
    from adversaria.reporting.doctor.page import verdict

    log.info("%-10s %s", "status", history.status)
    for number, segment in enumerate(history.given_up, 1):
        record = segment.rollback or {}
        log.info("rollback %d, from step %s back to step %s:", number, record["step"], record["to_step"])
        for finding in segment.findings:
            log.info("%s", segment.examination.in_words(finding))
    for finding in history.now.findings:
        log.info("%s", history.now.examination.in_words(finding))
    log.info("%-10s %s", "diagnosis", verdict(history))
    return any(segment.findings for segment in history.segments)


if __name__ == "__main__":
    sys.exit(main())
