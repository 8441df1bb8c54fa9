"""What the tests share: real data where it lies, a cache of their own, and runs in a temporary folder."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from PIL import Image

from adversaria.cli.arguments import typed_today
from adversaria.config.aliases import up_to_date
from adversaria.config.files import FileConfigSource, read_by_us
from adversaria.config.plain import conf_dir
from adversaria.data.images.named import Digits
from adversaria.runs.folder import Run
from studies import CONF

ROOT = Path(__file__).resolve().parent.parent

#: networks, batches and scores of the smallest useful size, for tests of everything around them
TINY = (
    "model.generator.width=8",
    "model.discriminator.width=8",
    "data.batch_size=8",
    "metrics=none",
    "callbacks.evaluation.max_share=null",  # or the machine's speed would decide when to evaluate
    "callbacks.samples.count=4",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)


#: what makes the configs and the classes of ``studies/`` known
STUDIES = (f"hydra.searchpath=['file://{CONF}']", "trust=[studies]")

#: the shortest run there is
TWO_STEPS = (
    "data.batch_size=4",
    "trainer.max_steps=2",
    "callbacks.samples.count=4",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data archives; tests that need it are skipped by name where it is absent."""
    folder = Path(os.environ.get("ADVERSARIA_SHARED", ROOT.parent / "shared" / "data"))
    if not (folder / "mnist-idx.tar.xz").is_file():
        pytest.skip(f"needs the data archives in {folder} (set ADVERSARIA_SHARED)")
    return folder


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real handwritten digits as RGB files in class folders: stands where a data set would be downloaded to."""
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("folders")
    images, labels = load_digits(return_X_y=True)
    for which, rows in (("train", slice(0, 60)), ("test", slice(60, 90))):
        for i, (image, label) in enumerate(zip(images[rows], labels[rows], strict=True)):
            file = root / which / str(label) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            grey = (image.reshape(8, 8) * 15.9).astype(np.uint8)
            Image.fromarray(grey).convert("RGB").resize((32, 32)).save(file)
    return root


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("ADVERSARIA_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("ADVERSARIA_RUN_DIR", raising=False)
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _configs_are_read_once() -> Iterator[None]:
    """Hydra parses all its YAML files for each command; a process of the tests parses a file when it has changed.

    It asks our own source for them (`adversaria.config.files`), so that nothing of Hydra's is replaced.
    """
    known: dict[tuple[str, str, tuple[int, int]], ConfigResult] = {}
    load = FileConfigSource.load_config

    def load_config(self: FileConfigSource, config_path: str) -> ConfigResult:
        name = config_path if config_path.endswith((".yaml", ".yml")) else f"{config_path}.yaml"
        if (state := _state(Path(self.path, name))) is None:  # it lies under an old name, or nowhere
            return load(self, config_path)
        key = (self.path, config_path, state)
        if key not in known:
            known[key] = load(self, config_path)
        return copy.deepcopy(known[key])  # Hydra takes the defaults list out of it

    patch = pytest.MonkeyPatch()
    patch.setattr(FileConfigSource, "load_config", load_config)
    yield
    patch.undo()


def _state(file: Path) -> tuple[int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@pytest.fixture(autouse=True)
def _clean_state() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is a temporary folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(*overrides: str, name: str = "train", folder: Path | None = None) -> dict[str, Any]:
    """The resolved config of a command line."""
    if folder is not None:  # whose files a test may change
        return _composed.__wrapped__(overrides, name, folder)
    return copy.deepcopy(_composed(overrides, name, conf_dir()))


@functools.cache
def _composed(overrides: tuple[str, ...], name: str, folder: Path) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    read_by_us()
    with initialize_config_dir(str(folder), version_base="1.3"):
        composed = compose(name, typed_today(overrides))
        return up_to_date(OmegaConf.to_container(composed, resolve=True))


@pytest.fixture(scope="session")
def make_config() -> Callable[..., dict[str, Any]]:
    """``make_config("model=dcgan", name="train", folder=None)``: the resolved config of a command line."""
    return config_of


@pytest.fixture
def train_run(tmp_path: Path) -> Callable[..., Run]:
    """``train_run("name", "model=mlp", ...)``: trains in ``tmp_path/name``, without the command line around it."""

    def make(name: str, *overrides: str) -> Run:
        from adversaria.training.experiment import build_experiment, train

        config = config_of(*overrides)
        run = Run(tmp_path / name)
        with run.started({k: v for k, v in config.items() if k != "trust"}, list(overrides)):
            run.write_result(train(build_experiment(config), run))
        return run

    return make


@pytest.fixture(scope="session")
def one_update() -> Callable[[dict[str, Any]], dict[str, torch.Tensor]]:
    """``one_update(config)``: the state dict after a single update, without callbacks."""

    def update(config: dict[str, Any]) -> dict[str, torch.Tensor]:
        from lightning import Trainer

        from adversaria.training.experiment import build_experiment

        experiment = build_experiment(config)
        trainer = Trainer(
            max_steps=1,
            max_epochs=-1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
        )
        trainer.fit(experiment.system, datamodule=experiment.data)
        return {name: value.clone() for name, value in experiment.system.state_dict().items()}

    return update


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Overrides that make an image run as small as possible."""
    return TINY


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cpu")


@pytest.fixture(scope="session")
def make_digits(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Digits]:
    """``make_digits(name=..., limit=...)``: the real digits at 16x16."""
    cache: Path = tmp_path_factory.mktemp("data")

    def make(**changes: Any) -> Digits:
        fields: dict[str, Any] = {
            "name": "digits",
            "root": None,
            "size": 16,
            "channels": 1,
            "fit": "resize",
            "mirror": False,
            "batch_size": 16,
            "storage": "auto",
            "num_workers": 0,
            "cache_dir": str(cache),
            "limit": None,
            "seed": 0,
            "download": False,
        }
        data = Digits(**{**fields, **changes})
        data.prepare()
        return data

    return make


@pytest.fixture(scope="session")
def digits(make_digits: Callable[..., Digits]) -> Digits:
    return make_digits()
