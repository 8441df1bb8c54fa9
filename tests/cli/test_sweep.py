"""Sweeps that are started again, and sweeps whose jobs run in other processes."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from adversaria.cli import train
from adversaria.cli.sweep import Sweep, claim_gpu, pass_on, visible_gpus
from adversaria.config.plain import conf_dir
from adversaria.reporting.compare.runs import find_runs, read_runs
from adversaria.runs.folder import Run

POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "data.batch_size=4",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "~callbacks.samples",
    "~callbacks.health",
    "trainer.max_steps=2",
    "trainer.accelerator=cpu",
    "logger=[]",
)

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sweep(command: Command) -> Command:
    """``sweep("seed=1,2", ...)`` in the folder ``mine``."""
    return lambda *arguments: command(train, "-m", *POINTS, "sweep_dir=mine", *arguments)


def last_checkpoints(folder: Path) -> dict[str, bytes]:
    return {file.parent.parent.name: file.read_bytes() for file in folder.glob("*/checkpoints/last.ckpt")}


def sweep_over(*keys: str) -> Sweep:
    made = Sweep()
    made.path, made.swept = Path("mine"), list(keys)
    return made


def needs(package: str) -> None:
    """Skips where a launcher is not installed; several packages share the folder ``hydra_plugins``."""
    try:
        importlib.import_module(f"hydra_plugins.{package}")
    except ModuleNotFoundError:
        pytest.skip(f"needs {package.replace('_', '-')}")


def test_a_sweep_with_more_values_trains_the_new_cells_only(sweep: Command, in_tmp: Path) -> None:
    assert sweep("seed=2,3")[0] == 0
    before = last_checkpoints(in_tmp / "mine")
    code, out, _ = sweep("seed=1,2,3")
    assert code == 0
    done = [line for line in out.splitlines() if "is done" in line]
    assert [line.split()[0] for line in done] == [str(in_tmp / "mine" / f"seed-{seed}") for seed in (2, 3)]
    after = last_checkpoints(in_tmp / "mine")
    assert set(after) == {"seed-1", "seed-2", "seed-3"}
    assert before.items() <= after.items()
    assert out.splitlines()[-1].split(maxsplit=1)[1] == f"{in_tmp / 'mine'}: 3 finished"


def test_a_finished_sweep_is_looked_through_without_torch(sweep: Command, in_tmp: Path) -> None:
    sweep("seed=1")
    code = "import sys; from adversaria.cli.train import main; main(); print('torch' in sys.modules)"
    arguments = [sys.executable, "-c", code, "-m", *POINTS, "sweep_dir=mine", "seed=1"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=in_tmp)
    assert "is done" in done.stdout
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_a_cell_is_found_again_in_a_sweep_over_other_keys(sweep: Command, in_tmp: Path) -> None:
    sweep("seed=1,2")
    code, out, _ = sweep("seed=1", "loss=nonsaturating,hinge")
    assert code == 0
    assert out.count("is done") == 1
    runs, problems = read_runs(find_runs(["mine"]))  # what compare.py shows
    assert sorted(run.path.name for run in runs) == ["loss-hinge", "seed-1", "seed-2"]
    assert problems == []


def test_a_cell_that_was_stopped_or_killed_goes_on(sweep: Command, in_tmp: Path) -> None:
    sweep("seed=1,2", "trainer.max_steps=1")
    killed, starting = Run(in_tmp / "mine" / "seed-1"), Run(in_tmp / "mine" / "seed-3")
    killed.result.unlink()
    starting.path.mkdir()  # killed before it had a config
    (starting.path / ".lock").touch()
    code, out, _ = sweep("seed=1,2,3")
    assert code == 0
    assert out.count("resumes") == 2
    for cell in ("seed-1", "seed-2", "seed-3"):
        result = Run(in_tmp / "mine" / cell).read_result()
        assert result is not None
        assert (result["status"], result["generator_updates"]) == ("finished", 2)


def test_a_cell_with_another_config_is_refused_with_the_difference(sweep: Command, in_tmp: Path) -> None:
    sweep("seed=1")
    before = last_checkpoints(in_tmp / "mine")
    code, _, err = sweep("seed=1", "data.batch_size=8")
    assert code == 2
    assert err.count("data.batch_size: 4 -> 8") == 1
    assert last_checkpoints(in_tmp / "mine") == before


def test_a_cell_goes_on_from_the_config_that_it_was_started_with(sweep: Command, in_tmp: Path) -> None:
    """A default that has changed in between is for new cells alone."""
    conf = in_tmp / "it's mine"
    for group in ("local", "guard"):
        (conf / group).mkdir(parents=True)
    shutil.copy(conf_dir() / "guard" / "watch.yaml", conf / "guard" / "mine.yaml")
    for default, options in ((0.25, ["seed=1,2", "trainer.max_steps=1"]), (0.5, ["seed=1,2,3", "guard=mine"])):
        (conf / "local" / "default.yaml").write_text(f"# @package _global_\noptim: {{clip_norm: {default}}}\n")
        assert sweep("--config-dir=it's mine", "loss=hinge", *options)[0] == 0
    cells = {seed: Run(in_tmp / "mine" / f"seed-{seed}") for seed in (1, 2, 3)}
    norms = [(cell.stored_config() or {})["optim"]["clip_norm"] for cell in cells.values()]
    assert norms == [0.25, 0.25, 0.5]
    assert {(cell.read_result() or {})["generator_updates"] for cell in cells.values()} == {2}
    assert cells[1].stored_overrides().count("loss=hinge") == 1


def test_budgets_that_are_swept_are_cells_of_their_own(sweep: Command, in_tmp: Path) -> None:
    sweep("trainer.max_steps=1,2")
    for steps in (1, 2):
        path = in_tmp / "mine" / f"trainer.max_steps-{steps}" / "checkpoints" / "last.ckpt"
        assert torch.load(path, weights_only=True)["global_step"] == steps


def test_a_mistyped_repetition_keeps_what_is_there(sweep: Command, in_tmp: Path) -> None:
    sweep("seed=1")
    before = {file for file in in_tmp.rglob("*") if file.is_file()}
    code, _, err = sweep("seed=1,2", "loss=hinged")
    assert code == 2
    assert "loss=hinged does not exist" in err
    assert {file for file in in_tmp.rglob("*") if file.is_file()} == before


def test_names_do_not_depend_on_the_order_and_are_unique() -> None:
    sweep = sweep_over("seed", "data.root", "+extra")
    assert sweep.cell(["model=mlp", "seed=1", "+extra=a"]) == sweep.cell(["+extra=a", "seed=1"]) == "extra-a_seed-1"
    values = ["'/a b'", "/a.b", "[1,2]", "[1.2]", "a" * 300, "a" * 301]
    names = {sweep.cell([f"data.root={value}"]) for value in values}
    assert len(names) == len(values)
    assert all(len(name) < 200 and "/" not in name and " " not in name for name in names)
    assert sweep.cell(["model=mlp"]) == "run"


def test_each_worker_has_a_gpu_of_its_own_while_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    gpus = visible_gpus()
    claims = [claim_gpu(tmp_path, gpus, number) for number in range(4)]
    assert [name for _, name in claims] == ["4", "7", "4", "7"]
    first, second = claims[0][0], claims[1][0]
    assert first is not None
    assert second is not None
    second.close()  # its worker has ended
    held, name = claim_gpu(tmp_path, gpus, 8)
    assert name == "7"
    for lock in (first, held):
        assert lock is not None
        lock.close()


def test_a_stop_is_passed_on_to_who_waited_for_the_signal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from adversaria.training.callbacks import Checkpoint

    received: list[int] = []
    earlier = signal.signal(signal.SIGUSR2, lambda number, _: received.append(number))
    original = Checkpoint.on_train_batch_end

    def signalled(self: Checkpoint, *rest: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR2)
        assert received == []  # not in the middle of a step
        original(self, *rest)

    monkeypatch.setattr(Checkpoint, "on_train_batch_end", signalled)
    try:
        code, _, _ = command(train, "-m", *POINTS, "seed=1,2", "sweep_dir=mine")
    finally:
        signal.signal(signal.SIGUSR2, earlier)
    assert received == [signal.SIGUSR2]
    assert code == 75
    assert (Run("mine/seed-1").read_result() or {})["generator_updates"] == 1
    pass_on("trainer.max_time")  # not a signal
    pass_on("SIGUSR1")  # nobody waits for it


def test_joblib_runs_jobs_beside_each_other(
    in_tmp: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("hydra_joblib_launcher")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    logging.getLogger("adversaria").handlers.clear()  # they hold the streams of an earlier capture
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *POINTS, "trainer.devices=1,2", "sweep_dir=mine", *launcher])
    code = train.main()
    screen = capfd.readouterr()
    assert code == 2
    assert "[trainer.devices-2] error: trainer.devices=2 cannot be swept" in screen.err
    assert "Traceback" not in screen.err
    assert "step/s" not in screen.err
    run = Run(in_tmp / "mine" / "trainer.devices-1")
    assert f"[trainer.devices-1] run        {run.path}" in screen.out.splitlines()
    assert [folder for folder in (in_tmp / "mine").iterdir() if folder.is_dir()] == [run.path]
    assert (run.read_result() or {})["status"] == "finished"
    threads = (run.path / "environment.txt").read_text().split("threads ")[1].split()[0]
    assert int(threads) == max(1, len(os.sched_getaffinity(0)) // 2)


def test_a_launcher_that_is_not_installed_says_how_to_get_it(
    sweep: Command, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra.core.config_store import ConfigStore

    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    monkeypatch.delitem(launchers, "joblib.yaml", raising=False)
    code, _, err = sweep("seed=1,2", "hydra/launcher=joblib")
    assert code == 2
    assert "pip install 'adversaria[joblib]'" in err
    assert list(in_tmp.iterdir()) == []


@pytest.mark.slow
def test_submitit_goes_on_after_its_signal(in_tmp: Path) -> None:
    needs("hydra_submitit_launcher")
    (in_tmp / "timelimit.py").write_text(
        "import os, signal\n"
        "from lightning.pytorch.callbacks import Callback\n"
        "class TimeLimit(Callback):\n"
        "    def on_train_batch_end(self, trainer, *_):\n"
        "        if trainer.global_step == 1:\n"
        "            os.kill(os.getpid(), signal.SIGUSR2)\n"
    )
    paths = os.pathsep.join([str(in_tmp), str(conf_dir().parent / "src"), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable, "-m", "adversaria.cli.train", "-m", *POINTS, "seed=1", "sweep_dir=mine",
        "hydra/launcher=submitit_local", "+callbacks.limit._target_=timelimit.TimeLimit", "trust=[timelimit]",
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run = Run(in_tmp / "mine" / "run")
    assert yaml.safe_load(run.config.read_text())["seed"] == 1
    assert "stopped by SIGUSR2 after 1 generator updates" in (run.path / "train.log").read_text()
    assert "resumes" in (run.path / "train.log").read_text()
    assert {key: (run.read_result() or {})[key] for key in ("status", "generator_updates")} == {
        "status": "finished",
        "generator_updates": 2,
    }
