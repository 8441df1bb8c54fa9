"""A folder of images and one command: what is chosen, what wins, and what stays when the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from adversaria.cli import train
from adversaria.config.plain import flatten
from adversaria.recipes import Machine
from adversaria.runs.folder import Run

Command = Callable[..., tuple[int, str, str]]
SMALL = (
    "model.generator.latent_dim=8",
    "model.generator.style_dim=8",
    "trainer.accelerator=cpu",
    "trainer.max_steps=1",
)


@pytest.fixture
def digits(in_tmp: Path) -> Path:
    """Real handwritten digits, enlarged to 20 pixels."""
    from sklearn.datasets import load_digits

    folder = in_tmp / "digits"
    folder.mkdir()
    for k, image in enumerate(load_digits().images[:40]):
        Image.fromarray((image * 15.9).astype(np.uint8)).resize((20, 20)).save(folder / f"{k}.png")
    return folder


@pytest.fixture(autouse=True)
def _laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "of", lambda _: Machine(None, 8 * 2**30, 1, 1))


def config_in(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = flatten(yaml.safe_load((folder / "config.yaml").read_text()))
    return config


def test_choices_are_said_stored_and_kept(
    command: Command, in_tmp: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("experiment=my_images", f"data.root={digits}", *SMALL, "run_dir=mine", "data.batch_size=8")
    code, out, err = command(train, *arguments)
    assert code == 0, err
    assert "auto     data.size=16: 90% of the 40 images have at least 20 pixels on both sides" in out
    assert "auto     data.batch_size=8: as given" in out
    assert "auto     regulariser.r1.weight=0.0064: 0.0002 * 16^2 / 8 images a step" in out
    config = config_in(in_tmp / "mine")
    assert (config["data.size"], config["data.batch_size"], config["data.mirror"]) == (16, 8, True)
    assert config["model.generator.channel_base"] == config["model.discriminator.channel_base"] < 16384
    assert (config["regulariser.r1.weight"], config["trainer.max_steps"]) == (0.0064, 1)
    assert "data.size" not in (in_tmp / "mine" / "overrides.txt").read_text()

    monkeypatch.setattr(Machine, "of", lambda _: Machine("a GPU", 80 * 2**30, 1, 64))
    code, out, err = command(train, "run_dir=mine", "trainer.max_steps=2")
    assert code == 0, err
    assert "resumes" in out
    assert "auto     data.size=16: as chosen when the run began" in out
    assert (Run(in_tmp / "mine").read_result() or {})["generator_updates"] == 2
    later = config_in(in_tmp / "mine")
    assert {key for key in later if later[key] != config.get(key)} == {"trainer.max_steps"}
    code, _, err = command(train, "run_dir=mine", "data.size=32", "trainer.max_steps=3")
    assert code == 2
    assert "data.size: 16 -> 32" in err


def test_faces_are_64_pixels_and_mirrored(command: Command, in_tmp: Path, digits: Path) -> None:
    code, out, err = command(
        train, "experiment=faces64", "data=image_folder", f"data.root={digits}", "metrics=none", *SMALL
    )
    assert code == 0, err
    assert "data.size=64: as given" in out
    assert "data.mirror=true: as given" in out


def test_another_model_needs_no_auto(command: Command, in_tmp: Path, digits: Path) -> None:
    arguments = ("experiment=my_images", f"data.root={digits}", "model=dcgan", "trainer.accelerator=cpu")
    code, _, err = command(train, *arguments)
    assert code == 2
    assert "add auto=none" in err
    assert not (in_tmp / "outputs").exists()


def test_nothing_to_look_at(command: Command, in_tmp: Path) -> None:
    (in_tmp / "empty").mkdir()
    code, _, err = command(train, "experiment=my_images", "data.root=empty", *SMALL)
    assert code == 2
    assert "holds no images" in err
    code, _, err = command(train, "experiment=my_images", *SMALL)
    assert code == 2
    assert "data.root is null" in err
