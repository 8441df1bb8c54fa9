"""Rows of a metrics.csv: what is whole is used, what is not is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from adversaria.core.rows import rows_of

HEAD = b"step,loss,score/fingerprint\n"


@pytest.mark.parametrize(
    ("content", "steps", "damaged"),
    [
        (b"", [], 0),
        (HEAD + b"1,0.5,\n2,nan,3f2a\n", ["1", "2"], 0),
        (HEAD + b"1,0.5,\n2,0.", ["1"], 0),
        (HEAD + b"1,0.5,\n\x00\x00\x00\n3,-1e-3,\n", ["1", "3"], 1),
        (HEAD + b'1,"0.5,\n2,0.5,\n', ["2"], 1),
        (HEAD + b"1,0.\xff5,\n2,1\n,,\n-3,1,\ninf,1,\n4,1,\n", ["4"], 5),
        (b"\x89PNG\r\n\x1a\n\x00\n", [], 3),
        (b"a,b\n1,2\n", [], 2),
    ],
)
def test_whole_rows_are_read_and_others_counted(tmp_path: Path, content: bytes, steps: list[str], damaged: int) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    rows, others = rows_of(tmp_path / "metrics.csv")
    assert ([row["step"] for row in rows], others) == (steps, damaged)
