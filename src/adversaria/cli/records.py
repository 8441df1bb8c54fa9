"""``evaluation.json``: a record for each subject and each way in which it was scored; none replaces another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adversaria.core.errors import UserError
from adversaria.core.files import read_json, write_json
from adversaria.core.text import shown

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """What was scored before; nothing where there is no file.

    Raises:
        UserError: the file is something else, which is not to be overwritten.
    """
    if not path.exists():
        return []
    way_out = "name another file with out=..."
    try:
        content = read_json(path)
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read ({error.strerror}); {way_out}") from error
    except UserError as error:
        raise UserError(f"{error}; {way_out}") from error
    records = _of_one_evaluation(content) if isinstance(content, dict) and "scores" in content else content
    found = records.get("records") if isinstance(records, dict) else records
    if not isinstance(found, list) or not all(isinstance(r, dict) and "subject" in r for r in found):
        raise UserError(f"{shown(path)} holds something else than scores; {way_out}")
    return found


def add_records(path: Path, records: list[Record]) -> None:
    """Writes ``records`` beside those that are there; one of the same subject and fingerprint takes its place."""
    new = {_identity(record) for record in records}
    write_json(path, {"records": [*(r for r in read_records(path) if _identity(r) not in new), *records]})


def _identity(record: Record) -> tuple[str, ...]:
    """What was scored (which weights or images), and how."""
    keys = ("subject", "generator_updates", "images_content", "fingerprint_id")
    return tuple(str(record.get(key)) for key in keys)


def _of_one_evaluation(content: Record) -> list[Record] | None:
    """Records of a file as it was before it kept several."""
    shared = {key: content.get(key) for key in ("reference", "fingerprint_id", "fingerprint")}
    scores = content["scores"]
    if not isinstance(scores, dict) or not all(isinstance(part, dict) for part in scores.values()):
        return None
    return [{"subject": name, **shared, **part} for name, part in scores.items()]
