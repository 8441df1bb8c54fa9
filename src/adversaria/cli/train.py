"""``python train.py model=dcgan data=cifar10``: composes, checks, trains, and says where everything is."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from adversaria.cli import app, arguments
from adversaria.cli.sweep import STOPPED, Sweep, pass_on
from adversaria.config.admission import Trust, brought_by_run
from adversaria.config.fields import check_train_config
from adversaria.config.plain import Plain, without_trust
from adversaria.core.errors import UserError
from adversaria.training.launch import launch, placed, rank, requeue

if TYPE_CHECKING:
    from adversaria.runs.folder import Run
    from adversaria.training.experiment import Experiment

log = logging.getLogger("adversaria")

#: exit codes by how a run ended; a stop at a signal is told apart, so that a script can start the command again
EXIT = {"finished": 0, "stopped": STOPPED, "diverged": 1, "unhealthy": 1}


def main() -> int:
    """The command; returns its exit code."""
    # Slurm signals helpers too, such as the workers of a loader, and also while the results are written: who has no
    # use for the signal must not die of it.
    if sys.platform != "win32":
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return app.run("train", functools.partial(job, typed=sys.argv[1:]), going_on)


@contextlib.contextmanager
def going_on(given: list[str]) -> Iterator[tuple[list[str], Path]]:
    """With ``run_dir=`` of an existing run: its stored config, and of the arguments those that change it."""
    from adversaria.runs.continued import continued
    from adversaria.runs.folder import Run

    run_dir = arguments.chosen(given, "run_dir")
    if not isinstance(run_dir, str) or not run_dir or not (run := Run(run_dir)).exists:
        with app.as_typed(given) as completed:
            yield completed
        return
    are_choices = arguments.is_choice(given)
    options = [argument for argument, choice in zip(given, are_choices, strict=True) if not choice]
    with continued(run, arguments.choices(given)) as (new, folder):
        yield [*new, *options], folder


def job(config: Plain, typed: Sequence[str] = ()) -> int:
    """One run: checks everything, then makes the folder, then trains.

    Args:
        config: of the run.
        typed: this command line, without what a run's folder brought.
    """
    hydra_config, sweep = HydraConfig.get(), Sweep.current
    cell = sweep.folder(app.overrides_of_job()) if sweep and sweep.path else None
    swept = cell is not None
    config = _composed(config, cell)
    check_train_config(config)
    _refuse_what_cannot_be(config, swept)
    inherited = os.environ.get("ADVERSARIA_RUN_DIR")  # from the process that started this one as a further rank
    config["trainer"] = placed(config["trainer"])
    folder = inherited or config["run_dir"] or (str(cell) if cell else None)
    goes_on = any(path is not None and _run(str(path)).exists for path in (config["run_dir"], cell))
    trust = Trust(config["trust"], brought_by_run(typed) if goes_on else ())
    config, choices = _settled(config, folder, trust)
    if cell and not _run(str(cell)).exists:
        folder = str(_twin(cell, config) or cell)
    if folder and not inherited and (code := _already_ended(_run(folder), config, swept)) is not None:
        return code
    from adversaria.runs.continued import all_overrides
    from adversaria.training.experiment import build_experiment, train

    experiment = build_experiment(_without_bar(config) if sweep and sweep.elsewhere else config, stored=trust.stored)
    if rank() > 0:  # the folder belongs to the first rank
        train(experiment, _run(folder or ""))
        return 0
    run = _run(folder) if folder else _new_run(hydra_config.runtime.choices)
    with run.started(without_trust(config), all_overrides(run, app.overrides_of_job())), _noted(run):
        _introduce(experiment, run, choices)
        run.result.unlink(missing_ok=True)
        result = train(experiment, run)
        run.write_result(result)
        _summarise(result, run)
    if swept:
        pass_on(result["stopped_by"])
    elif result["stopped_by"] == "SIGUSR1":  # what Slurm sends before a time limit, as in sbatch --signal=SIGUSR1@300
        requeue(config["run_dir"])
    return EXIT[result["status"]]


def _composed(config: Plain, cell: Path | None) -> Plain:
    """``config`` as Hydra has composed it; of a sweep's cell that is there what its stored config comes to.

    A single run that goes on has been composed from its stored config (see `going_on`). Of a sweep's jobs Hydra knows
    the folder only now, and has composed each from the defaults of today.
    """
    from adversaria.config.overrides import for_the_run, of_a_run
    from adversaria.runs.continued import continued

    config.pop("hydra", None)
    if cell is None or not (run := _run(str(cell))).exists:
        return config
    with continued(run, for_the_run(app.overrides_of_job())) as (new, folder):
        of_the_start = {key: value for key, value in config.items() if not of_a_run(key)}
        sources = HydraConfig.get().runtime.config_sources  # those of --config-dir too
        searched = app.searching(*(source.path for source in sources if source.schema == "file"))
        return {**app.compose(*new, searched, folder=folder), **of_the_start}


def _settled(config: Plain, run_dir: str | None, trust: Trust) -> tuple[Plain, list[str]]:
    """The config with what ``auto`` chooses, as the run at ``run_dir`` did if it is there; and lines that say it."""
    if not config.get("auto"):
        return config, []
    from adversaria.recipes import settle

    stored = _run(run_dir).stored_config() if run_dir else None
    return settle(config, app.overrides_of_job(), stored, trust)


@contextlib.contextmanager
def _noted(run: Run) -> Iterator[None]:
    """What is said inside the block stands in ``train.log`` too, and processes that it starts know the folder."""
    from adversaria.core.files import append

    written = append(run.path / "train.log")
    file = logging.StreamHandler(written)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(file)
    os.environ["ADVERSARIA_RUN_DIR"] = str(run.path.resolve())
    try:
        yield
    finally:
        del os.environ["ADVERSARIA_RUN_DIR"]
        log.removeHandler(file)
        written.close()


def _run(path: str) -> Run:
    from adversaria.runs.folder import Run

    return Run(path)


def _without_bar(config: Plain) -> Plain:
    """The config for one of several runs on one screen."""
    return config | {"callbacks": {key: value for key, value in config["callbacks"].items() if key != "progress"}}


def _twin(cell: Path, config: Plain) -> Path | None:
    """The folder of the run that this cell was in a sweep over other keys."""
    from adversaria.runs.folder import same_run

    return same_run(cell.parent, without_trust(config))


def _new_run(choices: Mapping[str, str]) -> Run:
    from adversaria.runs.folder import new_run

    return new_run(f"{choices['model']}-{choices['data']}")


def _refuse_what_cannot_be(config: Plain, swept: bool) -> None:
    """Combinations of processes and folders that cannot work, before anything is built."""
    devices = config["trainer"]["devices"]
    if swept and devices not in (1, "1"):
        raise UserError(
            f"trainer.devices={devices} cannot be swept: each further process would start the whole sweep again;"
            " sweep with trainer.devices=1 or start the runs one by one"
        )
    if swept and config["run_dir"]:
        raise UserError(f"run_dir={config['run_dir']} would be the folder of every job of the sweep; use sweep_dir=...")
    started = launch()
    several = "LOCAL_RANK" in os.environ or rank() > 0 or (started and started.devices * started.num_nodes > 1)
    if several and "ADVERSARIA_RUN_DIR" not in os.environ and not config["run_dir"]:
        raise UserError("processes started from outside must agree on a folder; add run_dir=... to the command")


def _already_ended(run: Run, config: Plain, swept: bool) -> int | None:
    """Says so when there is nothing left to train, or no way to go on."""
    result = run.read_result() if run.exists else None
    if result is None:
        return None
    run.check_same(without_trust(config))
    if result["status"] == "diverged":
        raise UserError(
            f"{run.path} diverged after {result['generator_updates']} generator updates and would again; train with"
            " other settings, such as a lower learning rate, in another run_dir"
        )
    if result["status"] == "unhealthy" and config["callbacks"].get("guard", {}).get("action", "watch") != "watch":
        raise UserError(
            f"{run.path} was stopped by its guard ({(result.get('findings') or [{}])[-1].get('detector')} after "
            f"{result['generator_updates']} generator updates) and would be again; train with other settings in another"
            " run_dir, or add guard=watch to go on regardless"
        )
    if result["status"] == "finished" and config["trainer"]["max_steps"] <= result["generator_updates"]:
        log.info("%s is done: nothing left to train", run.path)
        if not swept:
            _summarise(result, run)
        return 0
    return None


def _introduce(experiment: Experiment, run: Run, choices: list[str]) -> None:
    system = experiment.system
    parameters = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in system.named_children()
        if any(True for _ in module.parameters())
    }
    log.info("run      %s", run.path)
    for line in experiment.data.description().splitlines():
        log.info("data     %s", line)
    log.info("model    %s", ", ".join(f"{name} {count:,} parameters" for name, count in parameters.items()))
    for line in choices:
        log.info("auto     %s", line)
    if run.last.is_file():
        log.info("resumes  %s", run.last)


def _summarise(result: Plain, run: Run) -> None:
    from adversaria.evaluation.fingerprint import in_short

    log.info(
        "%s after %d generator updates, %d images, %.0f s of training",
        result["status"],
        result["generator_updates"],
        result["images_seen"],
        result["seconds"],
    )
    pictures = sorted(run.samples.glob("[0-9]*.png"))
    scores = ", ".join(
        f"{name} {value:.4g}" for name, value in (result.get("metrics") or {}).items() if value is not None
    )
    for name, value in (
        ("samples", pictures[-1] if pictures else None),
        ("checkpoint", run.path / result["checkpoint"] if result.get("checkpoint") else None),
        ("score", scores or None),
        *(("no score", f"{name}: {why}") for name, why in (result.get("missing") or {}).items()),
        ("made by", in_short(result.get("fingerprint") or {}) if scores else None),
        ("memory", _memory(result.get("cost") or {})),
        ("run", run.path),
    ):
        if value:
            log.info("%-10s %s", name, value)


def _memory(costs: Plain) -> str | None:
    """Peak memory and whose it is; None for a run that did not measure it, or did before that was noted."""
    return (
        f"{costs['peak_memory_mib']:,.0f} MiB of the {owner} at most"
        if (owner := costs.get("peak_memory_of"))
        else None
    )


if __name__ == "__main__":
    sys.exit(main())
