"""A run's folder: what lies in it, who may write to it, and how a run is found again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path

from adversaria.config import Plain, flatten
from adversaria.errors import UserError
from adversaria.files import write_json, write_text

#: what the stored config of a run and that of its continuation may differ in
MAY_CHANGE = (
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.strategy",
    "run_dir",
    "sweep_",
    "logger.",
    "trust",
    "callbacks.progress",
    "callbacks.guard",
    "data.num_workers",
    "data.root",
    "gradient_checkpointing",
)
_TEXTS = ("overrides.txt", "environment.txt", "config.yaml")
#: what a start that was killed before it wrote its config may have left
_BEFORE_CONFIG = {".lock", *_TEXTS}


class Run:
    """The folder of one run. Making the object touches nothing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config, self.overrides = self.path / "config.yaml", self.path / "overrides.txt"
        self.result, self.samples = self.path / "result.json", self.path / "samples"
        self.last, self.best = self.path / "checkpoints" / "last.ckpt", self.path / "checkpoints" / "best.ckpt"
        self._made: list[Path] = []

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config.is_file()

    @contextlib.contextmanager
    def started(self, config: Plain, overrides: list[str]) -> Iterator[None]:
        """Makes the folder, or checks that it holds the same run, and keeps others out of it inside the block.

        Raises:
            UserError: the folder is another run's, somebody trains in it, or it cannot be written.
        """
        fresh = not self.exists
        if fresh and self.path.is_dir() and self._holds_more():
            raise UserError(f"run_dir={self.path} holds files but no run; choose an empty or a new folder")
        if not fresh:
            self.check_same(config)
        try:
            self.make()
            lock = open(self.path / ".lock", "w")  # noqa: SIM115 - held until the block ends
        except OSError as error:
            self._remove_made()
            raise UserError(
                f"run_dir={self.path} cannot be written ({error.strerror}); choose another folder"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(
                    f"another process trains in {self.path}; wait for it or choose another run_dir"
                ) from error
            write_text(self.overrides, "".join(f"{line}\n" for line in overrides))
            write_text(self.path / "environment.txt", environment())
            write_text(self.config, _dump(config))
            try:
                yield
            except UserError:
                # What the user has to put right first leaves no half-made run behind.
                if fresh and not self.last.exists():
                    shutil.rmtree(self.path)
                    self._remove_made()
                raise

    def _holds_more(self) -> bool:
        """Whether more lies in the folder than a start may have left that was killed before it wrote its config."""
        names = {file.name for file in self.path.iterdir()} - _BEFORE_CONFIG
        return any(not (name.startswith(".") and name.endswith(".tmp")) for name in names)

    def make(self, *, new: bool = False) -> None:
        """Makes the folder and those above it; with ``new`` it must not exist."""
        self._made += [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=not new)

    def _remove_made(self) -> None:
        """Removes what `make` made, as far as it is empty."""
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def stored_overrides(self) -> list[str]:
        """What the user typed when the run was started; empty if there is none."""
        return self.overrides.read_text().splitlines() if self.exists and self.overrides.is_file() else []

    def stored_config(self) -> Plain | None:
        """The config that the run was started with, plain; None before it is started.

        Raises:
            UserError: what is there is no config.
        """
        import yaml

        if not self.exists:
            return None
        try:
            stored = yaml.safe_load(self.config.read_text())
        except (yaml.YAMLError, UnicodeDecodeError):
            stored = None
        if not isinstance(stored, dict):
            raise UserError(f"{self.config} is not a config; choose another run_dir")
        return stored

    def read_result(self) -> Plain | None:
        """``result.json``; None while there is none."""
        if not self.result.is_file():
            return None
        try:
            result: Plain = json.loads(self.result.read_text())
        except ValueError as error:
            raise UserError(
                f"{self.result} is not valid JSON ({error}); remove it and run the same command again"
            ) from error
        return result

    def write_result(self, result: Plain) -> None:
        """Writes ``result.json``, whole or not at all; NaN becomes null."""
        write_json(self.result, result)

    def check_same(self, config: Plain) -> None:
        """Compares with the config that the run was started with.

        Raises:
            UserError: they differ in something that a continuation may not change.
        """
        stored, new = flatten(self.stored_config() or {}), flatten(config)
        changed = [
            f"{key}: {stored.get(key)} -> {new.get(key)}"
            for key in sorted(stored | new)
            if stored.get(key) != new.get(key) and not key.startswith(MAY_CHANGE)
        ]
        if changed:
            shown = "; ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
            raise UserError(f"{self.path} was trained with another config ({shown}); choose another folder")


def new_run(stem: str) -> Run:
    """A folder ``outputs/<stem>/<date>_<time>`` that nobody else has, made at once; numbered if taken.

    Raises:
        UserError: it cannot be made.
    """
    base = Path("outputs") / stem / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for k in range(1000):
        run = Run(base if k == 0 else base.with_name(f"{base.name}-{k}"))
        try:
            run.make(new=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{run.path} cannot be made ({error.strerror}); choose one with run_dir=...") from error
        return run
    raise UserError(f"{base} and 999 numbered folders beside it are taken; choose a folder with run_dir=...")


def same_run(folder: Path, config: Plain) -> Path | None:
    """The run in a folder of runs that was started with exactly this config."""
    text = _dump(config)
    return next((file.parent for file in sorted(folder.glob("*/config.yaml")) if file.read_text() == text), None)


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a user means by a file or by a run's folder (its last one).

    Raises:
        UserError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if (last := Run(path).last).is_file():
        return last
    raise UserError(f"checkpoint={path} is neither a checkpoint nor the folder of a run that has saved one")


def results_folder(checkpoint: Path) -> Path:
    """Where what is made from a checkpoint goes: its run's folder, or the folder it lies in."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def environment() -> str:
    """Versions, device and git commit, for `environment.txt`."""
    import torch

    lines = [f"python {platform.python_version()}", f"platform {platform.platform()}"]
    for name in ("adversaria", "torch", "torchvision", "lightning", "hydra-core", "torch-fidelity", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            lines.append(f"{name} {metadata.version(name)}")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    lines += [f"device {device}", f"threads {torch.get_num_threads()}"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        source = Path(__file__).parent
        if (source.parent.parent / ".git").exists():
            git = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40"]
            lines.append(
                f"commit {subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()}"
            )
    return "\n".join(lines) + "\n"


def _dump(config: Plain) -> str:
    import yaml

    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return text
