"""Builds everything that a run needs from its config, trains, and says how it ended."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint

from adversaria.config.admission import Trust
from adversaria.config.blame import no_room, starting, told
from adversaria.config.build import check, construct
from adversaria.config.fields import check_train_config
from adversaria.config.plain import Plain, without_trust
from adversaria.core.errors import DiskFull, Diverged, Stopped, Unhealthy, UserError
from adversaria.core.seeding import seed_step
from adversaria.core.text import shown
from adversaria.data.module import DataModule
from adversaria.evaluation import cost
from adversaria.evaluation.protocol import Metrics
from adversaria.health import Finding, unsuited
from adversaria.runs.checkpoints import read_checkpoint
from adversaria.runs.folder import Run
from adversaria.systems.base import SteppedModule
from adversaria.systems.build import build_system
from adversaria.systems.parallel import let_signals_be
from adversaria.training.callbacks import Checkpoint, Evaluation, Health, in_order
from adversaria.training.callbacks.ema import sampler_of
from adversaria.training.callbacks.lookup import callback_of
from adversaria.training.callbacks.signals import Signals
from adversaria.training.checkpoint_io import AtomicIO
from adversaria.training.compilation import Compilation
from adversaria.training.launch import launch, placed, refuse_absent, same_environment
from adversaria.training.rollback import roll_back

log = logging.getLogger("adversaria")
# Importing Lightning sets its loggers' levels; what they say at "info" is about Lightning, not about the run.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass
class Experiment:
    """The parts of a run that are the same wherever its folder will be."""

    config: Plain
    trust: Trust
    data: DataModule
    system: SteppedModule
    metrics: dict[str, Metrics]
    callbacks: list[Callback]


def build_experiment(config: Plain, data: DataModule | None = None, stored: Collection[str] = ()) -> Experiment:
    """Checks the whole config, prepares the data and builds system and metrics; writes to no run folder.

    Args:
        config: plain and resolved.
        data: prepared, where they are there already.
        stored: names that a file brought into the config, see `adversaria.config.admission.Trust`.

    Raises:
        UserError: whatever the user has to put right first.
    """
    with starting(config, "a part of the run"):
        return _build(config, data, Trust(config["trust"], stored))


def _build(config: Plain, data: DataModule | None, trust: Trust) -> Experiment:
    check_train_config(config)
    for group, node in {**config, "trainer": trainer_node(config)}.items():
        check(node, group, trust)
    if data is None:
        data = construct(config["data"], "data", trust)
        data.prepare()
    # The weights of every rank, before any update: number -1 of the run.
    seed_step(config["seed"], 0, -1, 0, torch.device("cpu"))
    system = build_system(config, data.spec, trust)
    if config["channels_last"]:
        system.to(memory_format=torch.channels_last)
    metrics = construct(config["metrics"] or {}, "metrics", trust, spec=data.spec)
    stored = without_trust(config)
    callbacks = construct(config["callbacks"], "callbacks", trust, metrics=metrics, config=stored, trust=trust)
    return Experiment(config, trust, data, system, metrics, list(callbacks.values()))


def train(experiment: Experiment, run: Run) -> Plain:
    """Trains in ``run``'s folder from its last checkpoint, if there is one, to the end of the budget.

    Returns:
        What `result.json` holds: how it ended, how far it came, scores and their fingerprint.
    """
    deadline = time.monotonic() + time_limit(experiment.config["trainer"].get("max_time"))
    with same_environment(), Signals() as signals, _saying_what_is_saved(run):
        if not torch.cuda.is_available():
            # Each optimizer step of PyTorch's CUDA build looks for a GPU, which takes 0.3 ms where no GPU is.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        while True:
            resume = read_checkpoint(run.last)["global_step"] if run.last.is_file() else 0
            with starting(experiment.config, "the run"):
                trainer = make_trainer(experiment, run, resume)
                device = trainer.strategy.root_device
                for metrics in experiment.metrics.values():
                    metrics.prepare(experiment.data, device)
                cost.reset_peak_memory(device)
            if trainer.is_global_zero and (health := callback_of(trainer, Health)) is not None:
                run.note_unsuited_detectors(unsuited(health.detectors, experiment.system))
            if (checkpoint := callback_of(trainer, Checkpoint)) is not None:
                checkpoint.stop_on(signals, deadline)
            # Lightning converts weights after it has restored them, which rounds a float64 checkpoint's to float32.
            trainer.precision_plugin.convert_module(experiment.system)
            path = str(run.last) if run.last.is_file() else None
            with _ending(trainer, experiment, run, resume) as end:
                trainer.fit(experiment.system, datamodule=experiment.data, ckpt_path=path, weights_only=True)
            if not isinstance(end.cause, Finding) or not roll_back(trainer, run, end.cause):
                return _result(end, trainer, experiment, run)
            again = build_experiment(experiment.config, experiment.data, experiment.trust.stored)
            again.callbacks += experiment.callbacks[len(again.callbacks) :]  # those that no config names
            experiment = again


@dataclass
class _End:
    """How a training ended, and what failed (a finding) or what stopped it (its name)."""

    status: str = "finished"
    cause: Finding | str | None = None


@contextlib.contextmanager
def _ending(trainer: Trainer, experiment: Experiment, run: Run, resume: int) -> Iterator[_End]:
    """Training from the last checkpoint, if there is one; what ends it is noted where it is no mistake."""
    end = _End()
    try:
        yield end
    except Stopped as stopped:
        if trainer.is_global_zero:
            log.info("%s; the same command with run_dir=%s goes on", stopped, shown(run.path))
        end.status, end.cause = "stopped", stopped.by
    except Diverged as diverged:
        log.error("diverged: %s; %s", diverged, what_is_saved(run))
        finding = Finding("not_finite", diverged.generator_updates, str(diverged))
        for health in (c for c in experiment.callbacks if isinstance(c, Health)):
            health.note(finding)
        end.status, end.cause = "diverged", finding
    except Unhealthy as unhealthy:
        log.error("unhealthy: %s; %s", unhealthy, what_is_saved(run))
        finding = Finding(unhealthy.detector, unhealthy.generator_updates, unhealthy.evidence)
        end.status, end.cause = "unhealthy", finding
    except Exception as error:
        if isinstance(error, UserError) or no_room(error):
            raise
        if trainer.global_step > resume:
            with told(experiment.config, saved=what_is_saved(run)):
                raise
        if not run.last.is_file() or experiment.system.begun or isinstance(error, OSError):
            with starting(experiment.config, "the first update"):
                raise
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise UserError(
            f"{shown(run.last)} does not fit this run ({shown(reason)}); put another checkpoint of the run there, "
            "or choose another run_dir"
        ) from error
    finally:
        experiment.system.clock.stop()


@contextlib.contextmanager
def _saying_what_is_saved(run: Run) -> Iterator[None]:
    """Where the block ends for want of room on the disk or at once by the user, it is said what of the run is saved.

    Raises:
        DiskFull: instead of the error of the operating system.
        KeyboardInterrupt: as it was, also where Lightning has made an exit of it.
    """
    try:
        yield
    except OSError as error:
        if not no_room(error):
            raise
        where = f" at {shown(error.filename)}" if error.filename else ""
        raise DiskFull(
            f"{error.strerror}{where}; {what_is_saved(run)}: make room, and run the same command again"
        ) from error
    except (KeyboardInterrupt, SystemExit) as error:
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        log.warning("interrupted before the run was saved as it is; %s", what_is_saved(run))
        raise KeyboardInterrupt from error


def what_is_saved(run: Run) -> str:
    """How far the run's last checkpoint is, in words."""
    try:
        updates = read_checkpoint(run.last)["global_step"]
    except UserError:
        return "nothing of it has been saved"
    return f"{shown(run.last)} holds it after {updates} generator updates"


def make_trainer(experiment: Experiment, run: Run, resume_step: int) -> Trainer:
    """Lightning's Trainer with our callbacks, loggers, precision, compilation and atomic checkpoints."""
    config, trust = experiment.config, experiment.trust
    injected = {"run_dir": str(run.path), "save_dir": str(run.path), "resume_step": resume_step}
    evaluation = next((c for c in experiment.callbacks if isinstance(c, Evaluation)), None)
    evaluates = evaluation is not None and bool(evaluation.metrics)
    make = functools.partial(
        construct,
        callbacks=[Compilation(config["compile"]), *in_order(experiment.callbacks)],
        logger=list(construct(config["logger"], "logger", trust, **injected).values()) or False,
        default_root_dir=str(run.path),
        max_epochs=-1,
        check_val_every_n_epoch=None,
        val_check_interval=evaluation.every_n_steps if evaluation is not None and evaluates else None,
        limit_val_batches=1 if evaluates else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        # or Lightning would add one of its own
        enable_checkpointing=any(isinstance(c, LightningCheckpoint) for c in experiment.callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # Slurm's environment would else put the job back into the queue itself, from the middle of a step.
    slurm = [SLURMEnvironment(auto_requeue=False)] if (started := launch()) and started.by == "srun" else []
    trainer: Trainer = make(trainer_node(config), "trainer", trust, plugins=[AtomicIO(), *slurm])
    if config["trainer"].get("max_time") is not None and callback_of(trainer, Checkpoint) is None:
        raise UserError(
            "trainer.max_time stops a run by callbacks.checkpoint, which is left out; keep it, or set it to null"
        )
    if config["trainer"].get("sync_batchnorm") and trainer.strategy.root_device.type != "cuda":
        raise UserError(
            "trainer.sync_batchnorm=true needs CUDA: PyTorch has no synchronised BatchNorm for "
            f"{trainer.strategy.root_device.type}; set it to false"
        )
    let_signals_be(trainer)
    return trainer


def trainer_node(config: Plain) -> Plain:
    """The config's ``trainer`` with what ``auto`` stands for on this machine."""
    node = placed(config["trainer"])
    refuse_absent(node)
    time_limit(node.pop("max_time", None))  # the trainer's own would end the run as finished, after a validation
    if node["precision"] == "auto":
        node["precision"] = _fast_precision(node["accelerator"])
    if node["strategy"] == "auto" and (node["devices"] not in (1, "1") or node["num_nodes"] != 1):
        node["strategy"] = "stepwise_ddp"
    return node


def time_limit(max_time: str | float | None) -> float:
    """Seconds of ``trainer.max_time``: ``"[days:]hours:minutes:seconds"``, a number of seconds, or null for no limit.

    Raises:
        UserError: it is none of them.
    """
    if max_time is None:
        return math.inf
    fields = str(max_time).split(":")
    try:
        seconds = sum(float(field) * unit for field, unit in zip(reversed(fields), (1, 60, 3600, 86400), strict=False))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf or len(fields) not in (1, 3, 4):
        raise UserError(f"trainer.max_time={max_time} is no time; write hours:minutes:seconds, as in 07:30:00")
    return seconds


def _fast_precision(accelerator: str) -> str:
    """bf16-mixed where the device multiplies bfloat16 natively, else 32-true."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = accelerator in ("auto", "cpu") and bool(torch.cpu._is_avx512_bf16_supported())
    return "bf16-mixed" if native else "32-true"


def _result(end: _End, trainer: Trainer, experiment: Experiment, run: Run) -> Plain:
    evaluation, health = callback_of(trainer, Evaluation), callback_of(trainer, Health)
    system, seconds = experiment.system, experiment.system.clock.seconds
    made = evaluation.records() if evaluation else {}
    first: Plain = next(iter(made.values()), {})  # of the monitored metrics
    images = trainer.global_step * system.batches_per_step * experiment.data.batch_size * trainer.world_size
    costs: Plain = {}
    if trainer.is_global_zero:  # a stop stays quick: the latency is what takes time
        device = trainer.strategy.root_device
        costs = cost.measure(system, sampler_of(trainer), device, latency=end.status != "stopped")
    return {
        "status": end.status,
        "stopped_by": end.cause if end.status == "stopped" else None,
        "generator_updates": trainer.global_step,
        "images_seen": images,
        "seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 1) if seconds else None,
        "metrics": evaluation.scores if evaluation else {},
        "missing": evaluation.missing if evaluation else {},
        "best": evaluation.best if evaluation else None,
        "checkpoint": str(run.last.relative_to(run.path)) if run.last.is_file() else None,
        "fingerprint": first.get("fingerprint", {}),
        "fingerprint_id": first.get("fingerprint_id", ""),
        "fingerprints": made,
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "findings": [finding.to_dict() for finding in health.examination.findings] if health else [],
        "rollbacks": system.rollbacks,
        "cost": costs,
    }
