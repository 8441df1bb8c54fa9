"""A run is a pure function of its config: interrupted anywhere and resumed, it ends with the very same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import STUDIES

from adversaria.runs.folder import Run
from adversaria.training.callbacks.checkpoint import Checkpoint

POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=200",  # the stream begins anew within the run
    "data.batch_size=16",
    "model.generator.width=16",
    "model.discriminator.width=16",
    "metrics=modes",
    "callbacks.evaluation.every_n_steps=8",
    "callbacks.evaluation.max_share=null",
)
IMAGES = (
    "model=dcgan",
    "data=digits",
    "data.limit=100",
    "data.batch_size=8",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
)
#: all that keeps state: the probability of the augmentation, means of path lengths, logits and styles, lazy steps
STATEFUL = (
    "model=stylegan2",
    "data=digits",
    "data.batch_size=4",
    "augment=ada",
    "augment.interval=2",
    "augment.images=500",
    "regulariser=[r1,path_length,lecam]",
    "regulariser.r1.interval=3",
    "regulariser.lecam.start=6",
    "model.generator.channel_max=8",
    "model.generator.style_dim=8",
    "model.generator.mapping_layers=2",
    "model.discriminator.channel_max=8",
    "metrics=none",
)
#: three optimizers, two averages and a lazy term
AUTOENCODING = (
    "model=vae_gan",
    *IMAGES[1:],
    "model.encoder.width=8",
    "regulariser=r1",
    "regulariser.r1.interval=3",
    "~metrics.reconstruction",
)
#: conditions with random holes, made inside the step
EDITING = (
    *("model=pix2pix", "pairing=inpaint", *IMAGES[1:4], "metrics=none"),
    *("model.generator.width=4", "model.generator.depth=1", "model.discriminator.width=4"),
)
#: in float64, which a detour through float32 would round
DOUBLE = ("model=dirac", *STUDIES)
COMMON = (
    "trainer.accelerator=cpu",
    "trainer.max_steps=24",
    "trainer.log_every_n_steps=4",
    "callbacks.checkpoint.every_n_steps=5",
    "seed=3",
)


class Killed(BaseException):
    """Stands for the end of the process: nothing is written after it."""


def assert_equal(a: object, b: object, path: str = "") -> None:
    """Bit for bit, through all containers."""
    assert type(a) is type(b), path
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), f"{path} differs by up to {(a - b).abs().max()}"
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path  # type: ignore[attr-defined]
        for key in a:
            assert_equal(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{path}[{k}]")
    else:
        assert a == b, path


def assert_same_end(a: Run, b: Run) -> None:
    """Networks, averages, optimizers, best score and the logged values are the same."""
    one, other = (torch.load(run.last, weights_only=True) for run in (a, b))
    for key in ("state_dict", "ema", "ema_encoder", "optimizer_states", "global_step", "images_seen"):
        assert_equal(one.get(key), other.get(key), key)
    assert (a.read_result() or {})["best"] == (b.read_result() or {})["best"]
    lines = [(run.path / "metrics.csv").read_text().splitlines() for run in (a, b)]
    timeless = [
        [[v for n, v in zip(rows[0].split(","), row.split(","), strict=True) if "second" not in n] for row in rows]
        for rows in lines
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    ("model", "n_critic", "storage"),
    [
        (POINTS, 1, "disk"),
        (POINTS, 5, "device"),
        (IMAGES, 1, "device"),
        (IMAGES, 5, "disk"),
        # each pair of the three stands above
        pytest.param(POINTS, 1, "device", marks=pytest.mark.slow),
        pytest.param(POINTS, 5, "disk", marks=pytest.mark.slow),
        pytest.param(IMAGES, 1, "disk", marks=pytest.mark.slow),
        pytest.param(IMAGES, 5, "device", marks=pytest.mark.slow),
        (STATEFUL, 1, "device"),
        (STATEFUL, 2, "device"),
        (AUTOENCODING, 1, "device"),
        (EDITING, 1, "device"),
        (DOUBLE, 1, "device"),
    ],
    ids=lambda value: value[0].split("=")[1] if isinstance(value, tuple) else str(value),
)
def test_interrupted_run_ends_bit_equal(
    train_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    model: tuple[str, ...],
    n_critic: int,
    storage: str,
) -> None:
    overrides = (*model, *COMMON, f"optim.n_critic={n_critic}", f"data.storage={storage}")
    whole = train_run("whole", *overrides)

    original = Checkpoint._end_of_step

    def dies(self: Checkpoint, trainer: object, module: object) -> None:
        if trainer.global_step == 17:  # type: ignore[attr-defined]
            raise Killed
        original(self, trainer, module)

    monkeypatch.setattr(Checkpoint, "_end_of_step", dies)
    with pytest.raises(Killed):
        train_run("cut", *overrides)
    monkeypatch.setattr(Checkpoint, "_end_of_step", original)
    assert torch.load(Run(whole.path.parent / "cut").last, weights_only=True)["global_step"] == 15
    assert_same_end(whole, train_run("cut", *overrides))


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="PyTorch without MKL")
def test_matrix_products_are_reproducible() -> None:
    code = (
        "import torch, adversaria\n"
        "with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):\n"
        "    torch.ones(64, 64) @ torch.ones(64, 64)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "CNR:AUTO" in said.stdout


def test_a_validation_that_is_due_is_not_lost(train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by a signal in the very step that validates: the score is computed before the checkpoint."""
    original = Checkpoint.on_train_batch_end

    def signalled(self: Checkpoint, trainer: object, *rest: object) -> None:
        if trainer.global_step == 16:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, trainer, *rest)

    whole = train_run("whole", *POINTS, *COMMON)
    monkeypatch.setattr(Checkpoint, "on_train_batch_end", signalled)
    stopped = train_run("cut", *POINTS, *COMMON)
    result = stopped.read_result() or {}
    assert result["status"] == "stopped"
    assert result["generator_updates"] == 16
    assert "score" in (stopped.path / "metrics.csv").read_text()
    monkeypatch.undo()
    assert_same_end(whole, train_run("cut", *POINTS, *COMMON))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_save_first(train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    original = Checkpoint.on_train_batch_end

    def signalled(self: Checkpoint, trainer: object, *rest: object) -> None:
        if trainer.global_step == 7:  # type: ignore[attr-defined]
            os.kill(os.getpid(), number)
        original(self, trainer, *rest)

    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    monkeypatch.setattr(Checkpoint, "on_train_batch_end", signalled)
    run = train_run("run", *POINTS, *COMMON)
    assert (run.read_result() or {})["status"] == "stopped"
    assert torch.load(run.last, weights_only=True)["global_step"] == 7
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == before


def test_a_time_limit_stops_where_the_run_goes_on(train_run: Callable[..., Run]) -> None:
    """Not as Lightning's own limit, which validates once more and calls the run finished."""
    whole = train_run("whole", *POINTS, *COMMON)
    result = train_run("cut", *POINTS, *COMMON, "trainer.max_time=00:00:00.001").read_result() or {}
    assert (result["status"], result["stopped_by"]) == ("stopped", "trainer.max_time")
    assert 0 < result["generator_updates"] < 8
    assert result["metrics"] == {}
    assert_same_end(whole, train_run("cut", *POINTS, *COMMON))


@pytest.mark.parametrize("kind", ["points", "images"])
def test_evaluation_leaves_training_unchanged(train_run: Callable[..., Run], kind: str) -> None:
    scoring = ("metrics=classifier", "metrics.count=64", "callbacks.evaluation.max_share=null")
    base, metrics = (POINTS, ()) if kind == "points" else (IMAGES, scoring)
    scored = train_run("scored", *base, *COMMON, *metrics, "callbacks.evaluation.every_n_steps=8")
    blind = train_run("blind", *base, *COMMON, "metrics=none", "callbacks.samples.every_n_steps=3")
    assert "score/" in (scored.path / "metrics.csv").read_text()
    one, other = (torch.load(run.last, weights_only=True) for run in (scored, blind))
    for key in ("state_dict", "ema", "optimizer_states"):
        assert_equal(one[key], other[key], key)


KILLED_WHILE_WRITING = """
import os, signal, sys, torch
from adversaria.cli.train import main
save, calls = torch.save, []
def dies(checkpoint, file, *rest):
    calls.append(1)
    if len(calls) == 3:
        file.write(b"half a checkpoint"); file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(checkpoint, file, *rest)
torch.save = dies
sys.exit(main())
"""


def test_sigkill_in_the_middle_of_a_save_keeps_the_last_checkpoint(
    tmp_path: Path, train_run: Callable[..., Run]
) -> None:
    overrides = [*POINTS, *COMMON, "metrics=none"]
    arguments = [*overrides, f"run_dir={tmp_path / 'cut'}"]
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, *arguments], cwd=tmp_path, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert torch.load(Run(tmp_path / "cut").last, weights_only=True)["global_step"] == 10
    assert_same_end(train_run("whole", *overrides), train_run("cut", *overrides))


#: the clock of the machine ends the process, wherever it is, some time after training has begun
DIES_AT_RANDOM = """
import signal, sys
from adversaria.cli.train import main
from adversaria.systems.base import SteppedModule
begins = SteppedModule.on_train_start
def armed(self):
    begins(self)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
SteppedModule.on_train_start = armed
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "model",
    [POINTS, IMAGES, STATEFUL, (*IMAGES, "optim.n_critic=5", "data.storage=disk")],
    ids=["points", "images", "stateful", "disk"],
)
def test_random_kills_change_no_bit(tmp_path: Path, train_run: Callable[..., Run], model: tuple[str, ...]) -> None:
    overrides, rng, deaths = [*model, *COMMON], random.Random(7), 0
    arguments = [*overrides, f"run_dir={tmp_path / 'cut'}"]
    for _ in range(20):
        code = DIES_AT_RANDOM.replace("SECONDS", f"{rng.uniform(0.01, 0.3):.3f}")
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGALRM, done.stderr.decode()
        deaths += 1
    done = subprocess.run([sys.executable, "-m", "adversaria.cli.train", *arguments], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    print(f"killed {deaths} times")
    assert deaths > 0
    assert_same_end(train_run("whole", *overrides), Run(tmp_path / "cut"))
