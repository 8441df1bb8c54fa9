"""CRC-32 of a large file, block by block, so that flipped bytes are noticed before anything is trained on them."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_BLOCK = 4 * 2**20  # bytes
# So many blocks, a GiB, are read at each start: of a larger file evenly spaced ones, at another offset each time.
_LOOKED_AT = 256


def checksums(path: Path) -> list[int]:
    """CRC-32 of each 4 MiB of a file, in order.

    Raises:
        OSError: it cannot be read.
    """
    return _of(path, range(-(-path.stat().st_size // _BLOCK)))


def damaged(path: Path, expected: Sequence[int]) -> bool:
    """Whether a file is not the one that had the checksums ``expected``; at most a GiB of it is read.

    Raises:
        OSError: it cannot be read.
    """
    count = -(-path.stat().st_size // _BLOCK)
    if count != len(expected):
        return True
    stride = -(-count // _LOOKED_AT) if count else 1
    blocks = range(secrets.randbelow(stride), count, stride)
    return _of(path, blocks) != [expected[block] for block in blocks]


def _of(path: Path, blocks: range) -> list[int]:
    def checksum(block: int) -> int:
        with path.open("rb", buffering=0) as file:
            file.seek(block * _BLOCK)
            return zlib.crc32(file.read(_BLOCK))

    # Neither reading nor zlib holds the interpreter's lock; more threads than this only wait for the disk.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="checksum") as pool:
        return list(pool.map(checksum, blocks))
