"""The published recipes have the published sizes, and each trains at several sizes, with labels and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TWO_STEPS, config_of
from fitting import fitting

import adversaria
from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.runs.folder import Run
from adversaria.systems.build import build_system

CIFAR10 = DataSpec((3, 32, 32), 10, Image())
MNIST = DataSpec((1, 32, 32), 10, Image())
CONDITIONAL = ("model.generator.conditional=true", "model.discriminator.conditional=true")

#: trainable parameters of G and D at 32x32x3 with 10 classes, from the public reference of each
PARAMETERS = {
    ("sndcgan",): (3_813_379, 5_860_865),
    ("sngan",): (4_276_739, 1_053_825),
    ("wgan_gp",): (1_204_483, 1_053_825),
    ("projection",): (4_304_387, 1_055_105),
    ("acgan",): (4_304_387, 1_055_115),
    ("sagan",): (4_386_308, 1_075_586),
    ("biggan",): (4_304_387, 4_207_361),
    ("biggan_large",): (9_416_196, 2_415_170),
    ("stylegan2_cifar",): (19_947_539, 20_720_641),
    ("stylegan2_cifar", *CONDITIONAL): (20_215_315, 23_089_664),
    ("r3gan",): (20_732_160, 20_683_776),
    ("r3gan", *CONDITIONAL): (20_781_952, 21_280_512),
}
SMALL = sorted(file.stem for file in (conf_dir() / "experiment").glob("*_small.yaml"))


def on_meta(config: dict[str, Any], spec: DataSpec) -> Any:
    with torch.device("meta"):
        return build_system(config, spec)


def trainable(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    "choice", PARAMETERS, ids=["-".join(c[:1] + ("conditional",) * (len(c) > 1)) for c in PARAMETERS]
)
def test_networks_have_the_published_sizes(make_config: Callable[..., dict[str, Any]], choice: tuple[str, ...]) -> None:
    model, *overrides = choice
    system = on_meta(make_config(f"model={model}", "data=cifar10", *overrides), CIFAR10)
    assert (trainable(system.generator), trainable(system.discriminator)) == PARAMETERS[choice]


@pytest.mark.parametrize("name", SMALL)
def test_small_recipes_are_small(make_config: Callable[..., dict[str, Any]], name: str) -> None:
    config = make_config(f"experiment={name}")
    assert config["data"]["name"] == "mnist"
    assert trainable(on_meta(config, MNIST).generator) <= 500_000


MODELS = sorted(file.stem for file in (conf_dir() / "model").glob("*.yaml"))


@pytest.mark.parametrize("labels", ["unlabelled", "labelled"])
@pytest.mark.parametrize("size", [32, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", MODELS)
def test_each_model_trains_at_its_sizes_with_labels_and_without(
    train_run: Callable[..., Run], class_folders: Path, model: str, size: int, labels: str
) -> None:
    """Two updates of its own recipe, saved, loaded, sampled; what it cannot do is refused."""
    data = ("data=image_folder", f"data.root={class_folders}", f"data.size={size}", "metrics=none")
    overrides = [*TWO_STEPS, f"model={model}", *data]
    fields = fitting(config_of(*overrides), width=8)
    switches = [field.split("=")[0] for field in fields if ".conditional=" in field]
    overrides += [*fields, *(f"{switch}={str(labels == 'labelled').lower()}" for switch in switches)]
    try:
        run = train_run("run", *overrides)
    except UserError as error:
        pytest.skip(str(error))
    sampler = adversaria.load(run.path)
    assert (run.read_result() or {})["status"] == "finished"
    assert sampler.sample(3).shape == (3, *sampler.spec.shape)


@pytest.mark.parametrize(("size", "batch_size", "weight"), [(64, 32, 0.0256), (128, 16, 0.2048)])
def test_r1_of_stylegan2_follows_size_and_batch(
    make_config: Callable[..., dict[str, Any]], size: int, batch_size: int, weight: float
) -> None:
    config = make_config("model=stylegan2", f"data.size={size}", f"data.batch_size={batch_size}")
    assert config["regulariser"]["r1"]["weight"] == pytest.approx(weight)
