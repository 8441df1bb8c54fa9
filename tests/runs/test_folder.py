"""The folder of a run: what lies in it may be damaged, or come from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import adversaria
from adversaria.core.errors import DiskFull, UserError
from adversaria.runs.folder import Run, new_run
from adversaria.training.callbacks.signals import Signals

TINY = (
    "model=mlp",
    "data=ring8",
    "data.count=200",
    "data.batch_size=8",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=modes",
    "metrics.count=64",
    "callbacks.evaluation.every_n_steps=4",
    "callbacks.checkpoint.every_n_steps=4",
    "callbacks.health.samples=8",
    "callbacks.health.every_n_steps=2",
    "trainer.log_every_n_steps=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)
STORED = Path(__file__).parents[1] / "stored" / "dcgan"


@pytest.fixture
def stored(tmp_path: Path) -> Run:
    shutil.copytree(STORED, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    adversaria.train(*TINY, "trainer.max_steps=4", run_dir=folder)
    return folder


FILES = [".lock", "train.log", "metrics.csv", "result.json", "config.yaml", "overrides.txt", "environment.txt"]
FOLDERS = ["samples", "checkpoints", "tensorboard", "rollbacks", "profile"]


@pytest.mark.parametrize("name", [*FILES, *FOLDERS, "checkpoints/last.ckpt", "samples/reals.png"])
def test_nothing_is_written_through_a_link(stored: Run, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    place = stored.path / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.symlink_to(outside if name in FOLDERS else outside / "file")
    with pytest.raises(UserError, match=f"{name} is a link"), stored.started({}, []):
        pass
    assert [file.read_text() for file in outside.iterdir()] == ["precious"]
    assert place.is_symlink()


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_a_folder_or_a_pipe_in_the_place_of_another_is_named(stored: Run, name: str) -> None:
    place = stored.path / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    os.mkfifo(place) if name in FOLDERS else place.mkdir()
    with pytest.raises(UserError, match=f"{name} is no "), stored.started({}, []):
        pass


GOOD = json.loads((STORED / "result.json").read_text())


@pytest.mark.parametrize(
    "change",
    [
        [],
        7,
        {"status": 3},
        {"generator_updates": "8"},
        {"generator_updates": 10**30},
        {"seconds": None},
        {"metrics": [1]},
        {"metrics": {"fid": "low"}},
        {"findings": [3]},
        {"findings": [{"detector": "x"}]},
        {"rollbacks": {"a": 1}},
        {"best": {"value": 1.0}},
        {"best": {"name": "fid", "step": 1, "value": "low"}},
        {"missing": [1]},
        {"cost": {"peak_memory_of": "device", "peak_memory_mib": "much"}},
        {"checkpoint": 3},
        {"cost": [1]},
    ],
    ids=str,
)
def test_a_result_of_another_shape_is_named(stored: Run, change: Any) -> None:
    stored.result.write_text(json.dumps(GOOD | change if isinstance(change, dict) else change))
    with pytest.raises(UserError, match=r"result\.json is damaged: .*; remove it"):
        stored.read_result()
    stored.result.write_text(json.dumps(GOOD))
    assert stored.read_result() == GOOD


def test_texts_of_a_result_cannot_command_a_terminal(stored: Run) -> None:
    stored.result.write_text(json.dumps(GOOD | {"checkpoint": "\x1b[2J", "missing": {"fid\x1b": "too\rfew"}}))
    result = stored.read_result()
    assert result is not None
    assert (result["checkpoint"], result["missing"]) == (r"\x1b[2J", {r"fid\x1b": r"too\rfew"})


@pytest.mark.parametrize("text", ["a: [" + "1, " * 200_000 + "1]", "a: 1\n" * 10**6, f"a: 0x{'f' * 10**5}"], ids=len)
def test_a_config_without_end_is_named(stored: Run, text: str) -> None:
    stored.config.write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml (unfolds to|is larger than|holds no YAML)"):
        stored.stored_config()


def test_nested_aliases_end(stored: Run) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 60)]
    stored.config.write_text("\n".join(lines))
    with pytest.raises(UserError, match="unfolds"):
        stored.stored_config()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b", "", "con", "a\x1b[31m", "x" * 300])
def test_a_name_that_leads_elsewhere_makes_no_folder(in_tmp: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"folder.s name"):
        new_run(name)
    assert list(in_tmp.iterdir()) == []


def changed(folder: Path, to: Path, **parts: Any) -> Path:
    shutil.copytree(folder, to)
    checkpoint = torch.load(Run(folder).last, weights_only=True) | parts
    torch.save({key: value for key, value in checkpoint.items() if value is not ...}, Run(to).last)
    return to


PARTS = ("optimizer_states", "loops", "callbacks", "lr_schedulers", "seconds", "pytorch-lightning_version")


@pytest.mark.parametrize("part", [*PARTS, "shapes", "moments"])
def test_a_checkpoint_that_cannot_go_on_is_named(trained: Path, tmp_path: Path, part: str) -> None:
    whole = torch.load(Run(trained).last, weights_only=True)
    parts: dict[str, Any] = {part: "word" if part == "seconds" else ...}
    if part == "shapes":
        parts = {"state_dict": {name: value[..., :1] for name, value in whole["state_dict"].items()}}
    if part == "moments":
        states = [
            {**o, "state": {k: {n: t[..., :1] if t.ndim else t for n, t in s.items()} for k, s in o["state"].items()}}
            for o in whole["optimizer_states"]
        ]
        parts = {"optimizer_states": states}
    folder = changed(trained, tmp_path / "run", **parts)
    with pytest.raises(UserError, match=r"last\.ckpt does not fit this run"):
        adversaria.train(*TINY, "trainer.max_steps=6", run_dir=folder)


@pytest.mark.parametrize("what", ["checkpoint", "samples", "metrics", "tensorboard"])
def test_a_full_disk_says_what_is_saved_and_the_run_goes_on(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    name = {"checkpoint": "last.ckpt", "samples": "000006.png"}.get(what, what)

    def full(path: object) -> None:
        if name in str(path):
            raise OSError(28, os.strerror(28), str(path))

    from adversaria.core import files
    from adversaria.modalities import pictures
    from adversaria.training import checkpoint_io, loggers

    def watched(original: Any) -> Any:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            full(path)
            return original(path, *rest, **options)

        return call

    monkeypatch.setattr(checkpoint_io, "replacing", watched(files.replacing))
    monkeypatch.setattr(pictures, "replacing", watched(files.replacing))
    monkeypatch.setattr(loggers, "append", watched(files.append))
    monkeypatch.setattr(loggers, "subfolder", lambda *parts: full(parts) or parts[0])
    with pytest.raises(DiskFull, match=r"No space left on device.*last\.ckpt holds it after 4 generator updates"):
        adversaria.train(*TINY, "trainer.max_steps=6", run_dir=tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.tmp"))
    monkeypatch.undo()
    result = adversaria.train(*TINY, "trainer.max_steps=6", run_dir=tmp_path / "run")
    assert (result["status"], result["generator_updates"]) == ("finished", 6)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_write_that_the_system_refuses_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, torch; from pathlib import Path\n"
        "from adversaria.training.checkpoint_io import AtomicIO\n"
        "path = Path(sys.argv[1]) / 'checkpoints' / 'last.ckpt'\n"
        "AtomicIO().save_checkpoint({'a': 1}, path)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: AtomicIO().save_checkpoint({'a': torch.zeros(10_000)}, path)\n"
        "except OSError as error: print(error.errno, error.filename)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["27", str(tmp_path / "checkpoints" / "last.ckpt")]
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True) == {"a": 1}


CALLBACKS = ["ema", "statistics", "progress", "samples", "evaluation", "checkpoint", "health", "guard"]


@pytest.mark.parametrize("left_out", [*([name] for name in CALLBACKS), CALLBACKS[:-1], ["statistics", "health", "ema"]])
def test_any_callback_may_be_left_out(tmp_path: Path, left_out: list[str]) -> None:
    dropped = [f"~callbacks.{name}" for name in left_out]
    result = adversaria.train(*TINY, *dropped, "trainer.max_steps=4", run_dir=tmp_path / "run")
    assert result["status"] == "finished"
    assert result["seconds"] > 0
    again = adversaria.train(*TINY, *dropped, "trainer.max_steps=6", run_dir=tmp_path / "run")
    assert again["generator_updates"] == 6


def test_the_order_of_callbacks_changes_nothing(
    tmp_path: Path, train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adversaria.config.build import construct as original
    from adversaria.training import experiment as training

    def reversed_callbacks(node: Any, path: str, *rest: Any, **parts: Any) -> Any:
        return original(dict(reversed(node.items())) if path == "callbacks" else node, path, *rest, **parts)

    options = (*TINY, "trainer.max_steps=8", "callbacks.samples.every_n_steps=4")
    runs = [train_run("one", *options)]
    monkeypatch.setattr(training, "construct", reversed_callbacks)
    runs.append(train_run("other", *options))
    columns = [(run.path / "metrics.csv").read_text().splitlines()[0].split(",") for run in runs]
    assert set(columns[0]) == set(columns[1])
    findings = [torch.load(run.last, weights_only=True)["callbacks"]["Health"]["examination"] for run in runs]
    assert findings[0]["findings"] == findings[1]["findings"]
    # a value may differ in its last digit from one run in a process to the next
    assert [sorted(reading) for reading in findings[0]["earlier"]] == [
        sorted(reading) for reading in findings[1]["earlier"]
    ]
    assert (runs[0].samples / "000004.png").read_bytes() == (runs[1].samples / "000004.png").read_bytes()


def test_the_environment_stays_as_it_was(tmp_path: Path) -> None:
    before = dict(os.environ)
    adversaria.train(*TINY, "trainer.max_steps=1", run_dir=tmp_path / "run")
    assert dict(os.environ) == before


def test_nothing_saved_is_not_called_a_good_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = adversaria.train(
        *TINY, "trainer.max_steps=9", "+callbacks.spike={_target_: breaking.Spike, step: 1, factor: 'inf'}",
        "trust=[breaking]", run_dir=tmp_path / "run",
    )  # fmt: skip
    assert result["status"] == "diverged"
    said = (tmp_path / "run" / "train.log").read_text() if (tmp_path / "run" / "train.log").exists() else caplog.text
    assert "last.ckpt holds" not in said


def test_a_second_interrupt_is_immediate_but_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Signals() as signals:
        signals.listen()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.came == signal.SIGINT
        with signals.postponed():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


WINDOWS = """
import sys, signal
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM", "SIGHUP"):
    if hasattr(signal, name):
        delattr(signal, name)
import adversaria, adversaria.sampling.sampler, adversaria.training.experiment
import adversaria.evaluation.cost, adversaria.runs.folder
from adversaria.cli import train, sample, evaluate, compare, doctor
assert adversaria.load(sys.argv[1]).sample(2).shape == (2, 1, 16, 16)
sys.argv[1:] = [f"checkpoint={sys.argv[1]}", "count=2", f"out={sys.argv[2]}"]
sys.exit(sample.main())
"""


def test_sampling_needs_nothing_that_only_posix_has(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WINDOWS, str(STORED / "checkpoints" / "last.ckpt"), str(tmp_path / "x.png")]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.png").is_file()
