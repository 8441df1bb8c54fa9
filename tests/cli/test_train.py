"""The main command as a user types it: folders, messages, exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from adversaria.cli import train
from adversaria.config.plain import conf_dir
from adversaria.objectives.losses import functional
from adversaria.runs.folder import Run

PACKAGE = conf_dir().parent / "src" / "adversaria"

POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "trainer.max_steps=4",
    "trainer.accelerator=cpu",
)

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``command("model=mlp", ...)`` -> exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        import logging

        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        log = logging.getLogger("adversaria")
        log.handlers.clear()  # they hold the streams of an earlier capture
        code = train.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("config.yaml"))


def test_a_run_says_where_everything_is(command: Command, in_tmp: Path) -> None:
    code, out, _ = command(*POINTS)
    assert code == 0
    [folder] = runs_in(in_tmp)
    assert re.fullmatch(r"outputs/mlp-ring8/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", str(folder.relative_to(in_tmp)))
    assert out.splitlines()[0].split()[-1] == str(folder.relative_to(in_tmp))
    assert out.splitlines()[-1].split()[-1] == str(folder.relative_to(in_tmp))
    for name in re.findall(r"^(?:samples|checkpoint) +(\S+)$", out, re.MULTILINE):
        assert (in_tmp / name).is_file()
    assert len(re.findall(r"^(?:samples|checkpoint) +(\S+)$", out, re.MULTILINE)) == 2
    assert "1,000 train" in out
    assert re.search(r"^memory +[\d,]+ MiB of the process at most$", out, re.MULTILINE)
    written = {path.name for path in folder.iterdir()} - {".lock"}
    assert written == {
        "config.yaml", "overrides.txt", "environment.txt", "train.log",
        "tensorboard", "samples", "checkpoints", "result.json",
    }  # fmt: skip
    assert (folder / "samples" / "reals.png").is_file()
    assert (folder / "overrides.txt").read_text().splitlines() == list(POINTS)
    assert yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["max_steps"] == 4


def test_the_identical_command_starts_continues_and_says_that_it_is_done(command: Command, in_tmp: Path) -> None:
    arguments = (*POINTS, "run_dir=mine")
    assert command(*arguments)[0] == 0
    before = (in_tmp / "mine" / "checkpoints" / "last.ckpt").read_bytes()
    code, out, _ = command(*arguments)
    assert code == 0
    assert "is done" in out
    assert (in_tmp / "mine" / "checkpoints" / "last.ckpt").read_bytes() == before
    code, out, _ = command("run_dir=mine", "trainer.max_steps=6")  # the stored choices, and a longer budget
    assert code == 0
    assert "resumes" in out
    assert torch.load(in_tmp / "mine" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert (Run(in_tmp / "mine").read_result() or {})["generator_updates"] == 6


def test_another_config_in_the_same_folder_is_refused_with_the_difference(command: Command, in_tmp: Path) -> None:
    command(*POINTS, "run_dir=mine")
    code, _, err = command(*POINTS, "run_dir=mine", "seed=5", "trainer.max_steps=9")
    assert code == 2
    assert "seed: 0 -> 5" in err
    assert "max_steps" not in err


def test_a_foreign_folder_is_refused(command: Command, in_tmp: Path) -> None:
    (in_tmp / "mine").mkdir()
    (in_tmp / "mine" / "thesis.txt").write_text("precious")
    code, _, err = command(*POINTS, "run_dir=mine")
    assert code == 2
    assert "holds files but no run" in err
    assert [p.name for p in (in_tmp / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=dcgann"], r"model=dcgann does not exist; did you mean dcgan"),
        (["modle=dcgan"], r"modle is not .*did you mean model"),
        (["data.batchsize=3"], r"data\.batchsize is not .*did you mean data\.batch_size"),
        (["+data.colour=3"], r"data\.colour is unknown"),
        (["data.batch_size=many"], r"data\.batch_size=many is not a whole number"),
        (["data.batch_size=0"], r"data\.batch_size=0 is not a whole number from 1"),
        (["data.batch_size=5000"], r"batch_size=5000 is larger than the 1,000"),
        (["trainer.max_steps=0"], r"trainer\.max_steps=0"),
        (["trainer.max_steps=ten"], r"trainer\.max_steps=ten"),
        (["trainer.precision=17"], r"precision"),
        (["seed=-1"], r"seed=-1"),
        (["optim.generator.lr=-1"], r"optim\.generator\.lr=-1 is not a number of at least 0"),
        (["optim.generator.lr=fast"], r"optim\.generator\.lr=fast"),
        (["optim.n_critic=0"], r"optim\.n_critic=0"),
        (["optim.accumulate=7"], r"accumulate=7 does not divide"),
        (["callbacks.ema.half_life=0"], r"callbacks\.ema\.half_life=0"),
        (["model=dcgan"], r"dcgan|DCGAN|image"),
        (["model.generator.conditional=true", "model.discriminator.conditional=true"], r"label|class"),
        (["augment=diffaugment"], r"image"),
        (["data=image_folder", "model=dcgan"], r"data\.root"),
        (["data=image_folder", "model=dcgan", "data.root=nowhere"], r"nowhere"),
        (["data=digits", "model=dcgan", "data.size=24"], r"24"),
        (["model.generator._target_=os.system"], r"that a config may name here"),
        (["data.batch_size=${nope}"], r"nope"),
        (["trust=mypackage"], r"trust=mypackage is not a list"),
        (["run_dir=/proc/no/such"], r"cannot be written"),
        (["=3"], r"."),
        (["data.batch_size=[1"], r"."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(
    command: Command, in_tmp: Path, arguments: list[str], message: str
) -> None:
    other_data = any(argument.startswith("data=") for argument in arguments)
    base = [argument for argument in POINTS if not (other_data and argument == "data.count=1000")]
    code, _, err = command(*base, *arguments)
    assert code != 0
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in err
    assert list(in_tmp.iterdir()) == []


def test_a_full_disk_is_said_in_a_sentence(command: Command, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(*POINTS, "run_dir=mine")
    good = (in_tmp / "mine" / "checkpoints" / "last.ckpt").read_bytes()

    def full(_: Any, file: Any) -> None:
        file.write(b"as far as it goes")
        raise OSError(28, "No space left on device", file.name)

    monkeypatch.setattr(torch, "save", full)
    code, _, err = command("run_dir=mine", "trainer.max_steps=8")
    assert code == 1
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert (in_tmp / "mine" / "checkpoints" / "last.ckpt").read_bytes() == good
    assert not list((in_tmp / "mine" / "checkpoints").glob("*.tmp"))


def test_a_sweep_runs_every_combination_in_a_folder_of_its_own(command: Command, in_tmp: Path) -> None:
    code, _, _ = command("-m", *POINTS, "seed=1,2", "loss=hinge,least_squares", "sweep_name=mine")
    assert code == 0
    folders = runs_in(in_tmp)
    assert {f.parent.parent for f in folders} == {in_tmp / "outputs" / "sweeps" / "mine"}
    names = [f"loss-{loss}_seed-{seed}" for loss in ("hinge", "least_squares") for seed in (1, 2)]
    assert [f.name for f in folders] == names
    seen = {
        (c["seed"], c["loss"]["d_loss"]["_target_"])
        for c in (yaml.safe_load((f / "config.yaml").read_text()) for f in folders)
    }
    assert len(seen) == 4


def test_a_job_that_fails_does_not_end_the_sweep(command: Command, in_tmp: Path) -> None:
    code, _, err = command("-m", *POINTS, "optim.n_critic=0,1")
    assert code == 2
    assert err.count("error: ") == 1
    assert [f.name for f in runs_in(in_tmp)] == ["optim.n_critic-1"]


def test_a_mistyped_sweep_leaves_nothing(command: Command, in_tmp: Path) -> None:
    code, _, err = command("-m", *POINTS, "loss=hinge,hinged")
    assert code == 2
    assert "loss=hinged does not exist; did you mean hinge" in err
    assert [p for p in in_tmp.rglob("*") if p.is_file()] == []
    assert list(in_tmp.iterdir()) == []


def test_a_signal_ends_the_sweep(command: Command, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adversaria.training.callbacks import Checkpoint

    original = Checkpoint.on_train_batch_end

    def signalled(self: Checkpoint, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, *rest)

    monkeypatch.setattr(Checkpoint, "on_train_batch_end", signalled)
    code, _, _ = command("-m", *POINTS, "seed=1,2,3")
    assert code == 75
    [folder] = runs_in(in_tmp)
    assert (Run(folder).read_result() or {})["status"] == "stopped"


def test_several_devices_cannot_be_swept(command: Command) -> None:
    code, _, err = command("-m", *POINTS, "seed=1,2", "trainer.devices=2")
    assert code == 2
    assert "cannot be swept" in err


def test_a_stored_config_brings_back_no_trust(in_tmp: Path) -> None:
    run = Run(in_tmp / "mine")
    run.path.mkdir()
    run.config.write_text("{seed: 3, trust: [evil], hydra: {searchpath: [x]}, defaults: [x], run_dir: other}")
    run.overrides.write_text("seed=3\ntrust=[evil]\nhydra.searchpath=[x]\n--config-dir=x\nrun_dir=other\n")
    with train.going_on(["run_dir=mine", "seed=4"]) as (given, folder):
        primary = yaml.safe_load((folder / "train.yaml").read_text())
    assert given == ["run_dir=mine", "seed=4"]
    assert (primary["seed"], primary["trust"], primary["run_dir"]) == (3, [], None)
    assert primary["hydra"] == {"searchpath": [f"file://{conf_dir()}"]}
    assert "x" not in primary["defaults"]


def test_two_processes_do_not_share_a_folder(command: Command, in_tmp: Path) -> None:
    import fcntl

    command(*POINTS, "run_dir=mine")
    with open(in_tmp / "mine" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = command("run_dir=mine", "trainer.max_steps=9")
    assert code == 2
    assert "another process trains in" in err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--cfg", "job"], ["--info"], ["modle=dcgan"], ["-m", "loss=hinge,hinged"]], ids=str
)
def test_answers_without_training_do_not_import_torch(in_tmp: Path, arguments: list[str]) -> None:
    code = "import sys; from adversaria.cli.train import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=in_tmp)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert list(in_tmp.iterdir()) == []


def test_ranks_started_from_outside_need_a_folder(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    code, _, err = command(*POINTS)
    assert code == 2
    assert "run_dir=" in err
    assert "ADVERSARIA_RUN_DIR" not in os.environ


def test_seven_frames_of_ours_lead_to_the_loss_of_d(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the package, from ``train.main`` to the training step, and ``train.py`` itself."""
    names: list[str] = []

    def watched(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        ours = [frame for frame in traceback.extract_stack() if str(PACKAGE) in frame.filename]
        names[:] = [frame.name for frame in ours]
        return real_logits.mean() - fake_logits.mean()

    watched.__module__, watched.__qualname__ = functional.__name__, "bce_d"
    monkeypatch.setattr(functional, "bce_d", watched)
    code, _, _ = command(*POINTS, "run_dir=mine", "trainer.max_steps=1")
    assert code == 0
    assert names == ["main", "run", "composed", "job", "train", "training_step"]
