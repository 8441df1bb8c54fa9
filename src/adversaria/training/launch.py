"""Who started this process, how many train together, and how a job of Slurm starts again.

Nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from adversaria.config.plain import Plain
from adversaria.core.errors import UserError
from adversaria.core.text import typed

log = logging.getLogger("adversaria")


@contextlib.contextmanager
def same_environment() -> Iterator[None]:
    """After the block the environment's variables are what they were before."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@dataclass(frozen=True)
class Launch:
    """Processes that somebody else has started.

    Attributes:
        by: ``"torchrun"`` or ``"srun"``.
        devices: processes on each machine, one for each device.
        num_nodes: machines.
    """

    by: str
    devices: int
    num_nodes: int


def launch() -> Launch | None:
    """By whom the processes of this run were started; None if this one is alone, or will start the others itself.

    torchrun inside a job of Slurm counts as torchrun. An interactive shell of Slurm, whose job has that name, does not
    start processes. Sources: torchrun's and srun's manuals, "Environment Variables" and "Output Environment Variables".
    """
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return Launch("torchrun", int(environment["LOCAL_WORLD_SIZE"]), int(environment["GROUP_WORLD_SIZE"]))
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        nodes = int(environment.get("SLURM_NNODES", 1))
        return Launch("srun", int(environment["SLURM_NTASKS"]) // nodes, nodes)
    return None


def rank() -> int:
    """This process's number among those that train together, whoever started them."""
    return next((int(os.environ[name]) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK") if name in os.environ), 0)


def placed(trainer: Plain) -> Plain:
    """The config's ``trainer`` with the numbers that ``auto`` stands for in ``devices`` and ``num_nodes``.

    Those of torchrun or srun, where one of them has started this process; else all GPUs of this machine, or one
    process on a CPU.

    Raises:
        UserError: the numbers are not those of the processes that were started.
    """
    started, node = launch(), dict(trainer)
    if node["num_nodes"] == "auto":
        node["num_nodes"] = started.num_nodes if started else 1
    if node["devices"] in ("auto", -1, "-1"):
        node["devices"] = started.devices if started else _devices(node["accelerator"])
    if started and (started.devices, started.num_nodes) != (node["devices"], node["num_nodes"]):
        raise UserError(
            f"{started.by} has started {started.devices} processes on each of {started.num_nodes} machines, but "
            f"trainer.devices={node['devices']} and trainer.num_nodes={node['num_nodes']}; start one process for each "
            "device, and add trainer=ddp, which takes the numbers from there"
        )
    return node


def _devices(accelerator: str) -> int:
    """How many ``auto`` stands for."""
    import torch

    return max(1, torch.cuda.device_count()) if accelerator in ("auto", "gpu", "cuda") else 1


def refuse_absent(trainer: Plain) -> None:
    """Looks whether this machine has what a run is to be trained on; what is no device at all is left to the schema.

    Args:
        trainer: as `placed` gives it.

    Raises:
        UserError: there is no such GPU, there are fewer devices, or other machines would be waited for in vain.
    """
    if launch():  # the processes are there, and `placed` has counted them
        return
    accelerator, devices, nodes = trainer["accelerator"], trainer["devices"], trainer["num_nodes"]
    if type(nodes) is int and nodes > 1 and "MASTER_ADDR" not in os.environ:
        raise UserError(
            f"trainer.num_nodes={nodes} would wait for processes on other machines, which nobody has started; start "
            "them with torchrun or srun, or leave it out"
        )
    last = max((n for n in devices if type(n) is int), default=0) + 1 if isinstance(devices, list) else devices
    if (accelerator, last) in (("cpu", 1), ("auto", 1)) or accelerator not in ("auto", "cpu", "gpu", "cuda", "mps"):
        return
    import torch

    gpus = torch.cuda.device_count()
    mps = int(torch.backends.mps.is_available())
    there = {"cuda": gpus, "mps": mps, "gpu": gpus or mps, "auto": gpus or mps, "cpu": 0}[accelerator]
    if not there and accelerator in ("cuda", "mps", "gpu"):
        raise UserError(
            f"trainer.accelerator={accelerator} needs a GPU, and PyTorch finds none of that kind here; leave it out, "
            "or choose trainer=cpu"
        )
    # A process without a core of its own only slows the others; two of them are how one tries it out.
    most, kind = (there, "GPUs") if there else (max(2, os.cpu_count() or 1), "CPU cores")
    if isinstance(last, int) and last > most:
        raise UserError(f"trainer.devices={typed(devices)} asks for more than there are: {most} {kind}; choose fewer")


def requeue(run_dir: str | None) -> None:
    """Puts the job of Slurm that this process belongs to back into the queue; does nothing elsewhere.

    To be called last: Slurm ends the job at once. It starts again with the same command, which goes on where the run
    at ``run_dir`` was saved; without a folder in the command it would begin anew each time, and is not put back.
    Source: scontrol's manual, "requeue".
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or rank() > 0:
        return
    if run_dir is None:
        log.warning("job %s is not put back into the queue: it would start another run; add run_dir=...", job)
        return
    try:
        subprocess.run(
            ["scontrol", "requeue", job],
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
        reason = (said or str(error)).strip()
        log.warning("job %s is not put back into the queue (%s); submit it again to go on", job, reason)
    else:
        log.info("requeued job %s", job)
