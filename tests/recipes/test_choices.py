"""What the user gave wins, and a run that goes on does not choose again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.config.plain import flatten
from adversaria.core.errors import UserError
from adversaria.recipes import Machine, settle

Plain = dict[str, Any]

FIELDS = {
    "size": ["data.size"],
    "batch": ["data.batch_size"],
    "channel_base": ["model.generator.width", "model.discriminator.width"],
    "gamma": ["regulariser.r1.weight"],
}


def add_photos(folder: Path, first: int, count: int, side: int) -> None:
    folder.mkdir(exist_ok=True)
    for k in range(first, first + count):
        Image.fromarray(np.full((side, side + k, 3), k % 256, np.uint8)).save(folder / f"{k}.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    add_photos(tmp_path / "photos", 0, 40, 40)
    return tmp_path / "photos"


@pytest.fixture
def config(make_config: Callable[..., Plain], photos: Path, monkeypatch: pytest.MonkeyPatch) -> Plain:
    monkeypatch.setattr(Machine, "of", lambda _: Machine("a GPU", 80 * 2**30, 1, 8))
    made = make_config("data=image_folder", f"data.root={photos}", "auto=stylegan2", "regulariser=r1")
    made["auto"]["fields"] = FIELDS
    return made


def widths(config: Plain) -> tuple[int, int]:
    return config["model"]["generator"]["width"], config["model"]["discriminator"]["width"]


def test_choices_are_written_and_noted(config: Plain) -> None:
    settled, lines = settle(config, ["data=image_folder"], None)
    before, after = flatten(config), flatten(settled)
    noted = settled["auto"]["choices"]
    assert noted == {
        "data.size": 32,
        "data.batch_size": 32,
        "model.generator.width": 16384,
        "model.discriminator.width": 16384,
        "regulariser.r1.weight": 0.0064,
    }
    assert {key: after[key] for key in noted} == noted
    changed = {key for key in before if after.get(key) != before[key]}
    assert changed == set(noted)
    assert lines[0] == "data.size=32: 90% of the 40 images have at least 40 pixels on both sides"
    assert len(lines) == len(noted)
    assert config["data"]["size"] == 64, "the config itself is left as it is"


@pytest.mark.parametrize("override", ["data.batch_size=64", "++data.batch_size=64"])
def test_the_command_line_wins_and_what_follows_builds_on_it(config: Plain, override: str) -> None:
    settled, lines = settle(config, [override, "data=image_folder"], None)
    assert settled["data"]["batch_size"] == 64
    assert settled["regulariser"]["r1"]["weight"] == 0.0032
    assert "data.batch_size" not in settled["auto"]["choices"]
    assert "data.batch_size=64: as given" in lines


def test_a_node_above_wins_too_but_the_choice_of_a_group_does_not(config: Plain) -> None:
    generator, _ = widths(config)
    settled, _ = settle(config, ["model.generator={width:9}", "model=dcgan"], None)
    assert widths(settled) == (generator, 16384)


def test_kept_keys_are_like_given_ones(config: Plain) -> None:
    config["auto"]["keep"] = ["data.batch_size"]
    assert settle(config, [], None)[0]["regulariser"]["r1"]["weight"] == 0.0032


def test_a_run_that_goes_on_takes_its_own_choices(config: Plain, photos: Path) -> None:
    settled, _ = settle(config, [], None)
    add_photos(photos, 40, 400, 64)  # other data leads to another choice, as another machine would
    assert settle(config, [], None)[0]["data"]["size"] == 64
    again, lines = settle(config, [], settled)
    assert again == settled
    assert all("when the run began" in line for line in lines)
    config["data"]["batch_size"] = 8
    other, _ = settle(config, ["data.batch_size=8"], settled)
    assert other["data"]["batch_size"] == 8
    assert other["auto"] == settled["auto"]


def test_fields_that_the_config_lacks(config: Plain) -> None:
    config["regulariser"] = {}
    settled, _ = settle(config, [], None)
    assert settled["regulariser"] == {}
    del config["model"]["discriminator"]["width"]
    with pytest.raises(UserError, match=r"model\.discriminator\.width, which the chosen networks do not have"):
        settle(config, [], None)


def test_without_auto_nothing_changes(make_config: Callable[..., Plain]) -> None:
    config = make_config()
    assert settle(config, [], None) == (config, [])


def test_points_have_no_size(make_config: Callable[..., Plain], config: Plain) -> None:
    points = make_config("data=ring8", "model=mlp")["data"]
    config["auto"]["fields"] = {**FIELDS, "size": ["data.count"]}
    with pytest.raises(UserError, match=r"data=ring8 has none; add auto=none"):
        settle({**config, "data": points}, [], None)


@pytest.mark.parametrize(("devices", "count"), [(1, 1), ("1", 1), (-1, 1), ("auto", 1), (3, 3), ([0, 1], 2)])
def test_devices_of_a_trainer(devices: Any, count: int) -> None:
    machine = Machine.of({"accelerator": "cpu", "devices": devices, "num_nodes": 2})
    assert machine.devices == 2 * count
    assert machine.gpu is None
    assert machine.cores >= 1
    assert machine.memory > 2**28
