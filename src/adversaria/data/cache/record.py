"""How far the decoding of many images has come, kept beside the rows: a build that was cut off goes on from there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from adversaria.core.files import write_json

#: of the file beside the rows
NAME = "record.json"
_EVERY = 20_000  # images between two savings


@dataclass
class BuildRecord:
    """Of one pass over a data set's images.

    Attributes:
        done: images of the pass whose rows are on the disk.
        shape: ``[H, W, C]`` of the rows.
        unreadable: row and reason of the images that could not be decoded.
        saved: what ``done`` is in the file.
    """

    done: int
    shape: tuple[int, int, int]
    unreadable: dict[int, str] = field(default_factory=dict)
    saved: int = 0

    @classmethod
    def beside(cls, rows: Path) -> BuildRecord | None:
        """That of the file ``rows``; None if there is none, or none that can be trusted."""
        try:
            plain = json.loads(rows.with_name(NAME).read_text("utf-8"))
            height, width, channels = plain["shape"]
            unreadable = {int(row): str(reason) for row, reason in plain["unreadable"].items()}
            done = int(plain["done"])
            return cls(done, (height, width, channels), unreadable, done) if rows.is_file() else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def advance(self, count: int, file: IO[bytes], rows: Path) -> None:
        """``count`` more images are written to ``file``, which lies at ``rows``; now and then this is put on record."""
        self.done += count
        if self.done - self.saved >= _EVERY:
            self.save(file, rows)

    def save(self, file: IO[bytes], rows: Path) -> None:
        """First the rows reach the disk, then the record that they have."""
        file.flush()
        os.fsync(file.fileno())
        self.saved = self.done
        write_json(rows.with_name(NAME), {"done": self.done, "shape": self.shape, "unreadable": self.unreadable})


def forget(rows: Path) -> None:
    """Removes the record beside ``rows``."""
    rows.with_name(NAME).unlink(missing_ok=True)


def recorded(folder: Path) -> bool:
    """Whether a build in ``folder`` can go on."""
    return (folder / NAME).is_file()
