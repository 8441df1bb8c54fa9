"""Training from Python: what ``python train.py`` does, for notebooks and scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from lightning.pytorch.callbacks import Callback

from adversaria.cli.app import compose
from adversaria.cli.arguments import typed_today
from adversaria.config.blame import told
from adversaria.config.plain import Plain, conf_dir, without_trust
from adversaria.recipes import settle
from adversaria.runs.continued import all_overrides, continued
from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment
from adversaria.training.experiment import train as train_experiment

__all__ = ["compose", "train"]


def train(
    *overrides: str, run_dir: str | Path, callbacks: Sequence[Callback] = (), config_dir: str | Path | None = None
) -> Plain:
    """What ``python train.py <overrides> run_dir=<run_dir>`` trains, starting or going on there.

    >>> result = adversaria.train("model=mlp", "data=ring8", run_dir="outputs/mine")  # doctest: +SKIP

    Args:
        overrides: as on the command line.
        run_dir: the run's folder.
        callbacks: of Lightning's kind, after those of the config; they see all of the run, rollbacks included.
        config_dir: a folder with further choices, as ``--config-dir`` on the command line.

    Returns:
        What ``result.json`` holds.

    Raises:
        UserError: whatever is to be put right first.
    """
    run, overrides = Run(run_dir), tuple(typed_today(overrides))
    with continued(run, overrides) if run.exists else nullcontext((list(overrides), conf_dir())) as (given, folder):
        config = compose(*given, folder=folder if run.exists else None, config_dir=config_dir)
    with told(config):
        config, _ = settle(config, overrides, run.stored_config())
        experiment = build_experiment(config)
        experiment.callbacks.extend(callbacks)
        stored = without_trust(config)
        with run.started(stored, all_overrides(run, overrides)):
            run.write_result(train_experiment(experiment, run))
        result: Plain = json.loads(run.result.read_text("utf-8"))
    return result
