"""The way back: a failed run becomes one that is resumed from an earlier checkpoint, and says so.

Nothing is undone in memory. The healthy checkpoint, with one more entry in its list of rollbacks, takes the place of
``last.ckpt``; from there on the run is resumed as after a kill, and everything that makes a resumed run exact makes a
rolled-back one reproducible. Randomness and the order of the data depend on the number of rollbacks.
"""

from __future__ import annotations

import logging
import shutil

from lightning import Trainer

from adversaria.core.files import replacing, subfolder
from adversaria.core.ranks import wait_for_all_ranks
from adversaria.health import Finding
from adversaria.runs.checkpoints import read_checkpoint
from adversaria.runs.folder import Run
from adversaria.training.callbacks import Evaluation, Guard
from adversaria.training.callbacks.lookup import callback_of, system_of
from adversaria.training.checkpoint_io import AtomicIO

log = logging.getLogger("adversaria")


def roll_back(trainer: Trainer, run: Run, failure: Finding) -> bool:
    """Puts ``run`` back after ``failure``, if its guard is told to and may do so once more.

    The logged rows of the part that is given up are kept in ``rollbacks/<number>.csv``; the best score so far stays
    the best.

    Returns:
        Whether it was put back: then it is to be resumed.
    """
    guard = callback_of(trainer, Guard)
    earlier = system_of(trainer).rollbacks
    if guard is None or guard.action != "rollback" or len(earlier) >= guard.max_rollbacks:
        return False
    source = guard.healthy_checkpoint(run.last.parent, failure, earlier)
    if trainer.is_global_zero:
        checkpoint = read_checkpoint(source)
        record = {
            "detector": failure.detector,
            "evidence": failure.evidence,
            "step": failure.step,
            "to_step": checkpoint["global_step"],
            "rate_factor": guard.rate_factor,
            "penalty_factor": guard.penalty_factor,
        }
        checkpoint["rollbacks"] = [*earlier, record]
        if (evaluation := callback_of(trainer, Evaluation)) is not None:
            checkpoint["callbacks"][evaluation.state_key]["best"] = evaluation.best
        _keep_rows(run, len(earlier) + 1)
        AtomicIO().save_checkpoint(checkpoint, run.last)
        log.warning(
            "rollback %d of %d: from step %d back to step %d, rates times %g, penalties of D times %g",
            len(earlier) + 1,
            guard.max_rollbacks,
            failure.step,
            record["to_step"],
            guard.rate_factor,
            guard.penalty_factor,
        )
    wait_for_all_ranks()
    return True


def _keep_rows(run: Run, number: int) -> None:
    """``metrics.csv`` as it is now, before its last rows are cut off."""
    rows = run.path / "metrics.csv"
    if rows.is_file():
        with open(rows, "rb") as old, replacing(subfolder(run.path, "rollbacks") / f"{number}.csv") as kept:
            shutil.copyfileobj(old, kept)
