"""Whether something may be fetched: what a file from elsewhere names never makes this machine contact another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from adversaria.core.errors import UserError

_forbidden: ContextVar[str | None] = ContextVar("forbidden", default=None)


@contextmanager
def without_downloads(way_out: str) -> Iterator[None]:
    """Inside the block `require_download` raises.

    Args:
        way_out: what the user can do, as the end of a sentence.
    """
    token = _forbidden.set(way_out)
    try:
        yield
    finally:
        _forbidden.reset(token)


def require_download(what: str) -> None:
    """To be called before anything is fetched.

    Raises:
        UserError: nothing may be.
    """
    if (way_out := _forbidden.get()) is not None:
        raise UserError(f"{what} would have to be downloaded, which a stored config cannot ask for; {way_out}")
