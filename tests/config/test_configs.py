"""Every file in every group of ``conf/`` composes, builds, trains, saves, loads and samples; newcomers included."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import STUDIES, TWO_STEPS, config_of
from fitting import fitting

import adversaria
import adversaria.core.errors
from adversaria.config.plain import conf_dir, flatten
from adversaria.runs.folder import Run

GROUPS = {
    group.name: sorted(file.stem for file in group.glob("*.yaml"))
    for group in sorted(conf_dir().iterdir())
    if group.is_dir() and group.name not in ("hydra", "local")
}
CHOICES = [(group, name) for group, names in GROUPS.items() for name in names]
#: of evaluate.py alone; tests/cli/test_evaluate.py tries them
OF_EVALUATE = ("usefulness", "memorisation")
#: a part of another choice, which trains with it
PARTS = {("callbacks", "health")}
TRAINED = [(group, name) for group, name in CHOICES if group not in OF_EVALUATE and (group, name) not in PARTS]

#: what a choice needs beside it, because it is made for other data or for another loss
NEEDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("data", "ring8"): ("model=mlp",),
    ("data", "grid25"): ("model=mlp",),
    ("regulariser", "expected_instance_noise"): ("model=dirac", *STUDIES),
    ("data", "stacked_mnist"): ("data.count=100",),
    ("metrics", "modes"): ("data=ring8", "model=mlp"),
    ("metrics", "paired"): ("model=pix2pix", "pairing=denoise"),
    ("metrics", "reconstruction"): ("model=vae_gan",),
    ("metrics", "stacked_modes"): ("data=stacked_mnist", "data.count=100"),
    ("trainer", "ddp"): ("trainer.devices=1", "trainer.strategy=auto"),
    ("trainer", "ddp_cpu"): ("trainer.devices=1", "trainer.strategy=auto"),
    ("logger", "wandb"): ("logger.wandb.offline=true",),
    ("generator", "class_norm"): ("discriminator=projected",),
    ("discriminator", "projected"): ("generator=class_norm",),
    ("discriminator", "classifying"): ("generator=class_norm", "regulariser=auxiliary_classifier"),
    ("regulariser", "auxiliary_classifier"): ("model=acgan",),
    ("regulariser", "generator_classifier"): ("model=mgan",),
    ("regulariser", "mutual_information"): ("model=infogan",),
    ("regulariser", "path_length"): ("generator=stylegan2",),
    **dict.fromkeys(
        [
            ("generator", "unet"),
            ("model", "pix2pix"),
            ("generator", "editing_unet"),
            ("discriminator", "patchgan"),
            ("regulariser", "reconstruction"),
        ],
        ("model=pix2pix", "pairing=denoise"),
    ),
    ("model", "regression"): ("pairing=denoise",),
    ("data", "pairs"): ("model=regression",),
    **{("pairing", name): ("model=pix2pix", "data.channels=3") for name in GROUPS["pairing"]},
    ("experiment", "my_images"): ("data.size=16",),
    **{
        (group, name): ("data.size=32",)
        for group in ("generator", "discriminator", "model")
        for name in ("biggan", "biggan_large")
    },
}
#: data with two kinds of pictures
SIDES = {"pairs", "domains"}
#: choices that need what is not installed or not downloaded here: the module or file to look for
REQUIRES = {("logger", "wandb"): "wandb", ("logger", "mlflow"): "mlflow"}


def two_sides(class_folders: Path) -> Path:
    """A folder with the pictures of one class as A and as B."""
    root, first = class_folders.parent / "sides", sorted((class_folders / "train").iterdir())[0]
    for side in "AB":
        shutil.copytree(first, root / side, dirs_exist_ok=True)
    return root


def overrides_for(group: str, name: str, class_folders: Path) -> list[str]:
    """The command line that tries one choice on the smallest scale."""
    overrides = [*TWO_STEPS, f"{group}={name}", *NEEDS.get((group, name), ())]
    if group != "metrics":
        overrides.append("metrics=none")
    elif name != "none":
        overrides.append("metrics.limit=64" if name == "reconstruction" else "metrics.count=64")
    config = config_of(*overrides)
    if "root" in config["data"] and config["data"]["name"] != "digits":
        overrides += [f"data.root={two_sides(class_folders) if name in SIDES else class_folders}"]
    if group == "data" and "root" in config["data"] and name != "digits":
        overrides += ["data.size=32"]
    return overrides + fitting(config, width=8)


@pytest.mark.parametrize(("group", "name"), TRAINED, ids=[f"{group}={name}" for group, name in TRAINED])
def test_choice_trains_saves_loads_and_samples(
    train_run: Callable[..., Run],
    class_folders: Path,
    group: str,
    name: str,
) -> None:
    if module := REQUIRES.get((group, name)):
        pytest.importorskip(module)
    overrides = overrides_for(group, name, class_folders)
    if (group, name) == ("warm_start", "checkpoint"):
        source = train_run("source", *(override for override in overrides if not override.startswith("warm_start=")))
        overrides.append(f"callbacks.warm_start.checkpoint={source.path}")
    try:
        run = train_run("run", *overrides)
    except adversaria.core.errors.UserError as error:
        if "could not be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    result = run.read_result() or {}
    assert result["status"] == "finished"
    sampler = adversaria.load(run.path, trust=["studies"] if "trust=[studies]" in overrides else [])
    condition = sampler.condition
    samples = sampler.sample(5, given=None if condition is None else torch.zeros(5, *condition.shape))
    assert samples.shape == (5, *sampler.spec.shape)
    assert torch.isfinite(samples).all()


def test_every_choice_says_in_a_comment_what_it_is() -> None:
    for group, name in CHOICES:
        lines = (conf_dir() / group / f"{name}.yaml").read_text().splitlines()
        comments = [line for line in lines[:2] if line.startswith("# ") and "@package" not in line]
        assert comments, f"{group}/{name}.yaml begins without a comment"


def test_precedence_is_command_line_then_experiment_then_model_then_data(
    make_config: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    folder = shutil.copytree(conf_dir(), tmp_path / "conf")
    (folder / "experiment").mkdir(exist_ok=True)
    (folder / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n# x\ndefaults:\n  - override /model: sndcgan\n  - override /loss: wasserstein\n"
        "trainer: {max_steps: 77}\noptim: {n_critic: 3}\n"
    )
    config = make_config("experiment=mine", folder=folder)
    assert config["model"]["generator"]["_target_"].endswith("SNDCGANGenerator")
    assert config["loss"]["d_loss"]["_target_"].endswith("wasserstein_d")
    assert (config["trainer"]["max_steps"], config["optim"]["n_critic"]) == (77, 3)
    config = make_config("experiment=mine", "model=dcgan", "discriminator=mlp", "trainer.max_steps=5", folder=folder)
    assert config["model"]["generator"]["_target_"].endswith("DCGANGenerator")
    assert config["model"]["discriminator"]["_target_"].endswith("MLPDiscriminator")
    assert config["trainer"]["max_steps"] == 5


def test_names_that_scripts_rely_on(make_config: Callable[..., dict[str, Any]]) -> None:
    """The command-line surface is frozen: what is in here may be added to, never renamed."""
    train = flatten(make_config())
    for key in (
        "run_dir",
        "seed",
        "trust",
        "data.root",
        "data.size",
        "data.batch_size",
        "data.storage",
        "optim.n_critic",
        "trainer.max_steps",
        "trainer.precision",
        "trainer.devices",
        "callbacks.checkpoint.every_n_steps",
        "callbacks.evaluation.every_n_steps",
        "callbacks.samples.every_n_steps",
        "callbacks.ema.half_life",
        "callbacks.ema.ramp_up",
    ):
        assert key in train, key
    assert "metrics" in make_config()
    make_config("debug=fast")
    keys = set()
    for name in ("sample", "evaluate"):
        raw = yaml.safe_load((conf_dir() / f"{name}.yaml").read_text())
        keys |= set(raw)
    assert {
        "checkpoint",
        "count",
        "format",
        "labels",
        "interpolate",
        "traverse",
        "truncation",
        "standing",
        "out",
    } <= keys


def test_published_losses_follow_their_models(make_config: Callable[..., dict[str, Any]]) -> None:
    assert make_config("model=vae").get("loss") in (None, {})
    assert make_config("regulariser=[r1,r2]")["regulariser"].keys() == {"r1", "r2"}
    assert make_config("regulariser=none")["regulariser"] == {}
