"""Who started the processes, what ``auto`` stands for, and a job of Slurm that starts again."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adversaria.cli import train
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training.callbacks import Checkpoint
from adversaria.training.launch import Launch, launch, placed, rank, requeue

AUTO = {"devices": "auto", "num_nodes": "auto", "accelerator": "cpu"}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "5",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_WORLD_SIZE": "2",
}
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_JOB_NAME": "gan",
    "SLURM_NTASKS": "16",
    "SLURM_NTASKS_PER_NODE": "8",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
ONE_TASK = SRUN | {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1"}
ONE_TASK |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "trainer.max_steps=9",
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "run_dir=run",
)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*TORCHRUN, *SRUN}:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """``given(variables)`` sets them."""
    return lambda variables: [monkeypatch.setenv(*pair) for pair in variables.items()] and None


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to which a stand-in for Slurm's command writes what it was called with."""
    (tmp_path / "bin").mkdir()
    script, calls = tmp_path / "bin" / "scontrol", tmp_path / "calls"
    script.write_text(f'#!/bin/sh\ncat run/result.json > {tmp_path}/result_then 2>/dev/null\necho "$@" >> {calls}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return calls


def test_nobody_started_it() -> None:
    assert (launch(), rank()) == (None, 0)
    assert placed(AUTO) == {"devices": 1, "num_nodes": 1, "accelerator": "cpu"}
    assert placed(AUTO | {"devices": 4})["devices"] == 4


@pytest.mark.parametrize(
    ("variables", "expected", "number"),
    [
        (TORCHRUN, Launch("torchrun", 4, 2), 5),
        (SRUN, Launch("srun", 8, 2), 9),
        (SRUN | TORCHRUN, Launch("torchrun", 4, 2), 5),  # srun torchrun
        (SRUN | {"SLURM_JOB_NAME": "interactive"}, None, 9),
    ],
    ids=["torchrun", "srun", "both", "interactive"],
)
def test_numbers_are_those_of_whoever_started_it(
    given: Callable[..., None], variables: dict[str, str], expected: Launch | None, number: int
) -> None:
    given(variables)
    assert (launch(), rank()) == (expected, number)
    node = placed(AUTO)
    assert (node["devices"], node["num_nodes"]) == ((expected.devices, expected.num_nodes) if expected else (1, 1))


def test_other_numbers_than_were_started_are_refused(given: Callable[..., None]) -> None:
    given(TORCHRUN)
    with pytest.raises(
        UserError, match=r"torchrun has started 4 processes on each of 2 machines, but trainer\.devices=1"
    ):
        placed(AUTO | {"devices": 1, "num_nodes": 1})


def test_all_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert placed(AUTO | {"accelerator": "auto"})["devices"] == 4
    assert placed(AUTO | {"accelerator": "gpu", "devices": -1})["devices"] == 4
    assert placed(AUTO)["devices"] == 1


def signalled_at(step: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Checkpoint.on_train_batch_end

    def on_train_batch_end(self: Checkpoint, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == step:
            os.kill(os.getpid(), number)
        original(self, trainer, *rest)

    monkeypatch.setattr(Checkpoint, "on_train_batch_end", on_train_batch_end)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    logging.getLogger("adversaria").handlers.clear()
    return train.main()


def test_slurm_puts_the_job_back_and_it_goes_on(
    in_tmp: Path, given: Callable[..., None], scontrol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(ONE_TASK)
    with monkeypatch.context() as patch:
        signalled_at(5, signal.SIGUSR1, patch)
        assert command(patch, *POINTS) == 75
    assert scontrol.read_text() == "requeue 1234\n"
    result = Run("run").read_result() or {}
    assert (result["status"], result["stopped_by"], result["generator_updates"]) == ("stopped", "SIGUSR1", 5)
    # all was written before: Slurm ends the job at once
    assert (in_tmp / "result_then").read_text() == Run("run").result.read_text()
    assert not list(in_tmp.rglob("hpc_ckpt*"))
    given({"SLURM_RESTART_COUNT": "1"})
    assert command(monkeypatch, *POINTS) == 0
    assert (Run("run").read_result() or {})["generator_updates"] == 9
    assert scontrol.read_text() == "requeue 1234\n"


def test_the_signal_kills_nobody_outside_training(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adversaria.cli.train.app.run", lambda *_: os.kill(os.getpid(), signal.SIGUSR1) or 3)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        assert command(monkeypatch) == 3
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_other_signals_put_nothing_back(
    in_tmp: Path, given: Callable[..., None], scontrol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(ONE_TASK)
    signalled_at(5, signal.SIGTERM, monkeypatch)
    assert command(monkeypatch, *POINTS) == 75
    assert not scontrol.exists()


def test_requeue_says_what_keeps_it_from_it(
    given: Callable[..., None], scontrol: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("adversaria"), "propagate", True)
    requeue("run")  # not Slurm's
    given(SRUN)
    requeue("run")  # not the first rank
    assert not scontrol.exists()
    given(ONE_TASK)
    requeue(None)
    assert "add run_dir=" in caplog.text
    (scontrol.parent / "bin" / "scontrol").write_text("#!/bin/sh\necho 'Requested operation is disabled' >&2\nexit 1\n")
    requeue("run")
    assert "Requested operation is disabled" in caplog.text
    monkeypatch.setenv("PATH", "")
    requeue("run")
    assert "No such file" in caplog.text
    assert not scontrol.exists()
