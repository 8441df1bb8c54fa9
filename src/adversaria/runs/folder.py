"""A run's folder: what lies in it, who may write to it, and how a run is found again."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from adversaria.config import overrides as choices
from adversaria.config.aliases import up_to_date
from adversaria.config.plain import Plain, flatten
from adversaria.core.errors import CutShort, UserError
from adversaria.core.files import locked, read_json, read_yaml, write_json, write_text
from adversaria.core.text import check_name, cleaned, shown

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
)
#: what a start that was killed before it wrote its config may have left
_BEFORE_CONFIG = (".lock", "overrides.txt", "environment.txt", "config.yaml")
_FILES = (*_BEFORE_CONFIG, "detectors.json", "metrics.csv", "result.json", "train.log")
_FOLDERS = ("checkpoints", "samples", "tensorboard", "rollbacks", "profile")


class Run:
    """The folder of one run. Making the object touches nothing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config, self.overrides = self.path / "config.yaml", self.path / "overrides.txt"
        self.result, self.samples = self.path / "result.json", self.path / "samples"
        self.detectors = self.path / "detectors.json"
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
            UserError: the folder is another run's or holds links, somebody trains in it, or it cannot be written.
        """
        fresh = not self.exists
        if self.path.is_dir():
            self._check_places()
            if fresh and self._holds_more():
                raise UserError(f"run_dir={shown(self.path)} holds files but no run; choose an empty or a new folder")
        if not fresh:
            self.check_same(config)
        with contextlib.ExitStack() as inside:
            try:
                self.make()
                inside.enter_context(locked(self.path / ".lock"))
            except BlockingIOError as error:
                raise UserError(
                    f"another process trains in {shown(self.path)}; wait for it or choose another run_dir"
                ) from error
            except OSError as error:
                self._remove_made()
                raise self._not_written(error) from error
            try:
                self._write_down(config, overrides)
                yield
            except UserError as error:
                # What the user has to put right first leaves no half-made run behind.
                if fresh and not self.last.exists() and not isinstance(error, CutShort):
                    inside.close()
                    self._empty()
                    self._remove_made()
                raise

    def _write_down(self, config: Plain, overrides: list[str]) -> None:
        """What the run is; the config last, for it makes a folder a run."""
        lines = choices.for_the_run(overrides)
        try:
            write_text(self.overrides, "".join(f"{line}\n" for line in lines), errors="surrogateescape")
            write_text(self.path / "environment.txt", environment())
            text = _dump(config)
            write_text(self.config, text)
        except OSError as error:
            raise self._not_written(error) from error
        choices.note(lines)
        choices.note([text])

    def _not_written(self, error: OSError) -> UserError:
        return UserError(f"run_dir={shown(self.path)} cannot be written ({error.strerror}); choose another folder")

    def _holds_more(self) -> bool:
        """Whether more lies in the folder than a start may have left that was killed before it wrote its config."""
        names = {file.name for file in self.path.iterdir()}.difference(_BEFORE_CONFIG)
        return any(not (name.startswith(".") and name.endswith(".tmp")) for name in names)

    def _check_places(self) -> None:
        """Nothing is written through a link: there is none where a run writes, and what has a run's names is its kind.

        Raises:
            UserError: names the first that is not.
        """
        for name in sorted(os.listdir(self.path)):
            path = self.path / name
            kind = stat.S_IFMT(os.lstat(path).st_mode)
            wanted = {**dict.fromkeys(_FILES, stat.S_IFREG), **dict.fromkeys(_FOLDERS, stat.S_IFDIR)}.get(name, kind)
            inner = [path, *(path.iterdir() if name in _FOLDERS and kind == stat.S_IFDIR else ())]
            link = next((place for place in inner if place.is_symlink()), None)
            if link is not None:
                raise UserError(
                    f"{shown(link)} is a link, and nothing is written through one; remove it, or put its content there"
                )
            if kind != wanted:
                raise UserError(f"{shown(path)} is no {'folder' if wanted == stat.S_IFDIR else 'file'}; remove it")

    def make(self, *, new: bool = False) -> None:
        """Makes the folder and those above it; with ``new`` it must not exist."""
        self._made += [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=not new)

    def _empty(self) -> None:
        """Removes what lies in the folder, which a start has found without anything of value, or has made."""
        for child in self.path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()

    def _remove_made(self) -> None:
        """Removes what `make` made, as far as it is empty."""
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def stored_overrides(self) -> list[str]:
        """What the user typed when the run was started; empty if there is none.

        Raises:
            UserError: the file cannot be read.
        """
        return choices.stored(self.overrides) if self.exists else []

    def stored_config(self) -> Plain | None:
        """The config that the run was started with, plain; None before it is started.

        Raises:
            UserError: what is there is no config.
        """
        if not self.exists:
            return None
        try:
            stored = read_yaml(self.config)
        except OSError as error:
            raise UserError(
                f"{shown(self.config)} cannot be read ({error.strerror}); choose another run_dir"
            ) from error
        if not isinstance(stored, dict) or not all(isinstance(key, str) for key in stored):
            raise UserError(f"{shown(self.config)} is not a config; choose another run_dir")
        return dict(up_to_date(stored))

    def read_result(self) -> Plain | None:
        """``result.json``, its texts fit for a screen; None while there is none.

        Raises:
            UserError: it is damaged.
        """
        way_out = "remove it and run the same command again"
        try:
            result = read_json(self.result)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{shown(self.result)} cannot be read ({error.strerror}); {way_out}") from error
        except UserError as error:
            raise UserError(f"{error}; {way_out}") from error
        if wrong := _wrong_in(result):
            raise UserError(f"{shown(self.result)} is damaged: {wrong}; {way_out}")
        return dict(cleaned(result))

    def write_result(self, result: Plain) -> None:
        """Writes ``result.json``, whole or not at all; NaN becomes null."""
        write_json(self.result, result)

    def unsuited_detectors(self) -> list[str]:
        """The detectors that the run's system or modality has no use for, by their names in its config.

        Raises:
            UserError: ``detectors.json``, which says it, is damaged.
        """
        try:
            said = read_json(self.detectors)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{shown(self.detectors)} cannot be read ({error.strerror}); remove it") from error
        names = said.get("unsuited") if isinstance(said, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{shown(self.detectors)} is damaged: it has no list of names under unsuited; remove it")
        return [shown(name) for name in names]

    def note_unsuited_detectors(self, names: Sequence[str]) -> None:
        """Writes ``detectors.json`` for `unsuited_detectors`; without ``names`` there is none."""
        if names:
            write_json(self.detectors, {"unsuited": list(names)})
        else:
            self.detectors.unlink(missing_ok=True)

    def check_same(self, config: Plain) -> None:
        """Compares with the config that the run was started with.

        Raises:
            UserError: they differ in something that a continuation may not change.
        """
        before = self.stored_config() or {}
        # a field that came with a later version than the run has its default
        stored, new = flatten(before), flatten({key: value for key, value in config.items() if key in before})
        changed = [
            f"{key}: {stored.get(key)} -> {new.get(key)}"
            for key in sorted(stored | new)
            if stored.get(key) != new.get(key) and not key.startswith(MAY_CHANGE)
        ]
        if changed:
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            raise UserError(
                f"{shown(self.path)} was trained with another config ({shown('; '.join(changed[:5]), 1000)}{more}); "
                "choose another folder"
            )


def new_run(stem: str) -> Run:
    """A folder ``outputs/<stem>/<date>_<time>`` that nobody else has, made at once; numbered if taken.

    Raises:
        UserError: it cannot be made.
    """
    check_name("the folder of the run, <model>-<data>", stem)
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
    for file in sorted(folder.glob("*/config.yaml")):
        with contextlib.suppress(UserError):  # of another run, and damaged
            if Run(file.parent).stored_config() == config:
                return file.parent
    return None


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
        if (source.parents[2] / ".git").exists():
            git = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40"]
            done = subprocess.run(git, capture_output=True, encoding="utf-8", check=True, timeout=10)
            lines.append(f"commit {done.stdout.strip()}")
    return "\n".join(lines) + "\n"


def _wrong_in(result: Any) -> str | None:
    """What keeps plain values from being what `Run.write_result` wrote, in words."""
    if not isinstance(result, dict):
        return "it is no mapping"
    pending: list[Any] = [result]
    while pending:
        value = pending.pop()
        if isinstance(value, int) and abs(value) >= 2**63:
            return "it has a number beyond 64 bits"
        pending += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if wrong := _wrong_kind(result, {"status": str, "generator_updates": int, "images_seen": int, "seconds": float}):
        return wrong
    for key in ("metrics", "missing", "fingerprint", "cost"):
        if not isinstance(result.get(key) or {}, dict):
            return f"{key} is no mapping"
    if any(not _is_kind(value, float) for value in (result.get("metrics") or {}).values() if value is not None):
        return "a score is no number"
    made = result.get("fingerprints") or {}  # of each metrics; not noted while there was one at most
    if not isinstance(made, dict) or any(
        _wrong_kind(part, {"fingerprint_id": str, "fingerprint": dict, "scores": list}) for part in made.values()
    ):
        return "fingerprints are damaged"
    if not isinstance(result.get("checkpoint"), str | None):
        return "checkpoint is no text"
    parts = [(result.get("best") or [], {"name": str, "step": int, "value": float})]
    if (result.get("cost") or {}).get("peak_memory_of"):  # whose it is was not noted at first
        parts.append((result["cost"], {"peak_memory_mib": float, "peak_memory_of": str}))
    finding = {"detector": str, "evidence": str, "step": int}
    for key, kinds in {"findings": finding, "rollbacks": {**finding, "to_step": int}}.items():
        if key == "rollbacks" and isinstance(result.get(key), int):  # their number, as it was written at first
            continue
        if not isinstance(result.get(key) or [], list):
            return f"{key} is no list"
        parts += [(record, kinds) for record in result.get(key) or []]
    return next((wrong for part, kinds in parts if part != [] and (wrong := _wrong_kind(part, kinds))), None)


def _wrong_kind(part: Any, kinds: dict[str, type]) -> str | None:
    """The first of ``kinds`` that ``part`` lacks, in words."""
    missing = (key for key, kind in kinds.items() if not isinstance(part, dict) or not _is_kind(part.get(key), kind))
    return next((f"{key} is missing or of another type" for key in missing), None)


def _is_kind(value: Any, kind: type) -> bool:
    return isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)


def _dump(config: Plain) -> str:
    import yaml

    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return text
