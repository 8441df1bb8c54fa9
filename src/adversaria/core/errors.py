"""The errors that a user may meet, each one sentence long: what is wrong, where, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right. The command line prints the message alone, without a traceback.

    Attributes:
        exit_code: of a command that ends with it: 2 for what was wrong before anything ran.
    """

    exit_code = 2


class CutShort(UserError):
    """Something outside ended what had begun; what was saved before is intact."""

    exit_code = 1


class DiskFull(CutShort):
    """There is no room for what a run wants to save; what it has saved before is intact."""


class Stopped(Exception):
    """A signal or ``trainer.max_time`` asked the run to end; its state is saved and the same command continues it.

    Attributes:
        generator_updates: done so far.
        by: name of the signal, or ``"trainer.max_time"``.
    """

    def __init__(self, generator_updates: int, by: str) -> None:
        super().__init__(f"stopped by {by} after {generator_updates} generator updates")
        self.generator_updates, self.by = generator_updates, by


class Diverged(Exception):
    """A loss or a weight became NaN or infinite; the last good checkpoint is kept."""

    def __init__(self, generator_updates: int, what: str) -> None:
        super().__init__(f"{what} is not finite after {generator_updates} generator updates")
        self.generator_updates = generator_updates


class Unhealthy(Exception):
    """A detector found a failure that the guard was told to act on."""

    def __init__(self, generator_updates: int, detector: str, evidence: str) -> None:
        super().__init__(f"{detector} after {generator_updates} generator updates: {evidence}")
        self.generator_updates = generator_updates
        self.detector = detector
        self.evidence = evidence
