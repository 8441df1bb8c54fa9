"""Signals that ask a run to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

#: what may stop a run; where ranks bring several, the last counts
STOPS = ("trainer.max_time", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGTERM")


class Signals:
    """Notes signals instead of obeying them, from `listen` to the end of the block.

    An exception from a handler would land in the middle of a step. A second Ctrl-C is to be immediate, and raises
    `KeyboardInterrupt`, but once: a further one would land in what clears up after it, and could leave threads that
    wait for each other for ever.
    """

    def __init__(self) -> None:
        #: the last one that came
        self.came: int | None = None
        #: whether a second Ctrl-C interrupts; not while the run's state is written, nor once it ends
        self.immediate = True
        self._interrupted = False
        self._listens = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        # Now, for Lightning has handlers of its own while it trains.
        self._before = {number: signal.getsignal(number) for number in _numbers()}
        return self

    def __exit__(self, *_: object) -> None:
        if self._listens:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Nothing interrupts the block."""
        before, self.immediate = self.immediate, False
        try:
            yield
        finally:
            self.immediate = before

    def listen(self) -> None:
        """Installs the handlers; does nothing in a thread other than the first, which gets no signals."""
        self._listens = threading.current_thread() is threading.main_thread()
        for number in _numbers() if self._listens else ():
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT == self.came
        self.came = number
        if again and self.immediate and not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt


def _numbers() -> list[int]:
    """Of the signals that stop a run; those of POSIX are not all there on Windows."""
    known = signal.Signals.__members__
    return [known[name] for name in STOPS[1:] if name in known]
