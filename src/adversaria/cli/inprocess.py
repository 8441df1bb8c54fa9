"""Training from Python: what ``python train.py`` does, for notebooks and scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from lightning.pytorch.callbacks import Callback

from adversaria.cli.app import explain, plain
from adversaria.cli.arguments import check, typed_today
from adversaria.config.blame import told
from adversaria.config.fields import check_choices, refuse_doubles
from adversaria.config.files import read_by_us
from adversaria.config.plain import Plain, conf_dir, without_trust
from adversaria.core.errors import UserError
from adversaria.recipes import settle
from adversaria.runs.continued import all_overrides, continued
from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment
from adversaria.training.experiment import train as train_experiment


def compose(*overrides: str, folder: Path | None = None, config_dir: str | Path | None = None) -> Plain:
    """The resolved config of ``python train.py <overrides>``.

    Args:
        overrides: as on the command line.
        folder: of the primary config ``train``; None: ``conf/``.
        config_dir: a folder with further choices, as ``--config-dir`` on the command line.

    Raises:
        UserError: Hydra cannot read an override, no config has a place for it, or a value is missing or refers to one
            that does not exist.
    """
    overrides = tuple(typed_today(overrides))
    check(overrides)
    check_choices("train", overrides)
    GlobalHydra.instance().clear()
    read_by_us()
    try:
        with hydra.initialize_config_dir(str(folder or conf_dir()), version_base="1.3"):
            composed = hydra.compose("train", [*overrides, *_searched(folder, config_dir)])
    except Exception as error:  # Hydra's own, whatever the class
        raise UserError(explain(error, "train")) from error
    refuse_doubles(overrides)
    config = plain(composed)
    config.pop("hydra", None)
    return config


def _searched(folder: Path | None, config_dir: str | Path | None) -> list[str]:
    """The override that has Hydra look into ``config_dir`` as well; none without it."""
    if config_dir is None:
        return []
    # the primary config of a run that goes on has the first of these by itself, and the override replaces it
    places = [*([] if folder is None else [conf_dir()]), Path(config_dir).expanduser().resolve()]
    quoted = (str(place).replace("\\", "\\\\").replace("'", "\\'") for place in places)
    return ["hydra.searchpath=[" + ",".join(f"'file://{place}'" for place in quoted) + "]"]


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
