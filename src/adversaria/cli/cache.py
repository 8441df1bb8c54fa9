"""``python cache.py``: what the cache of decoded images holds; ``remove=superseded`` makes room.

Exit code: 0; 2 for what the user can put right.
"""

from __future__ import annotations

import logging
import sys

from adversaria.cli import app
from adversaria.config.fields import check_fields
from adversaria.config.plain import Plain
from adversaria.core.errors import UserError

log = logging.getLogger("adversaria")


def main() -> int:
    """The command; returns its exit code."""
    return app.run("cache", job)


def job(config: Plain) -> int:
    """Lists the entries with their sizes, and removes those that are asked for."""
    check_fields("cache", config)
    from adversaria.core.files import cache_folder
    from adversaria.core.text import shown
    from adversaria.data.cache.entries import entries, remove

    folder = cache_folder(config["cache_dir"])
    found = entries(folder)
    wanted = config["remove"] if isinstance(config["remove"], list) else [config["remove"] or "nothing"]
    names = {entry.path.name for entry in found}
    if unknown := [name for name in wanted if name not in {"nothing", "superseded", *names}]:
        raise UserError(f"remove={shown(unknown[0])} is no entry of {folder}: give superseded, or a name of the list")
    log.info("%-10s %s", "cache", folder)
    for entry in found:
        of = f", of {shown(entry.of)}" if entry.of else ""
        why = f" (superseded: {entry.superseded})" if entry.superseded else ""
        log.info("%10s %s%s%s", _megabytes(entry.nbytes), shown(entry.path.name), of, why)
    superseded = sum(entry.nbytes for entry in found if entry.superseded)
    log.info(
        "%-10s %s, of these superseded %s", "in all", _megabytes(sum(e.nbytes for e in found)), _megabytes(superseded)
    )
    chosen = [e for e in found if e.path.name in wanted or (e.superseded and "superseded" in wanted)]
    if chosen:
        log.info("%-10s %s", "removed", _megabytes(remove(chosen)))
    elif superseded:
        log.info("%-10s python cache.py remove=superseded", "make room")
    return 0


def _megabytes(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
