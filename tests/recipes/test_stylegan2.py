"""The rules of the published automatic configuration, and ours where the machine is small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError
from adversaria.data.images.survey import Survey
from adversaria.recipes import Machine, StyleGAN2Auto

FIELDS = yaml.safe_load((conf_dir() / "auto" / "stylegan2.yaml").read_text())["fields"]


def photos(side: int, count: int = 70_000) -> Survey:
    return Survey(count, np.full(min(count, 100), side))


def gpus(devices: int = 1, gib: float = 80) -> Machine:
    return Machine("a GPU", int(gib * 2**30), devices, 16)


def laptop(cores: int = 4) -> Machine:
    return Machine(None, 16 * 2**30, 1, cores)


def values(survey: Survey, machine: Machine, **given: Any) -> dict[str, Any]:
    chosen = StyleGAN2Auto(fields=FIELDS).choose(survey, machine, given)
    assert chosen.keys() == FIELDS.keys()
    assert all(choice.reason for choice in chosen.values())
    return {name: choice.value for name, choice in chosen.items()} | given


@pytest.mark.parametrize(
    ("size", "devices", "batch", "group", "base", "gamma", "half_life", "rate"),
    [
        # worked out by hand from the published rules
        (64, 1, 32, 4, 16384, 0.0002 * 4096 / 32, 10_000, 0.0025),
        (128, 1, 32, 4, 16384, 0.0002 * 16384 / 32, 10_000, 0.0025),
        (256, 1, 16, 4, 16384, 0.0002 * 65536 / 16, 5_000, 0.0025),
        (512, 1, 8, 4, 32768, 0.0002 * 262144 / 8, 2_500, 0.0025),
        (1024, 1, 4, 4, 32768, 0.0002 * 1048576 / 4, 1_250, 0.002),
        (128, 2, 32, 4, 16384, 0.0002 * 16384 / 64, 20_000, 0.0025),
        (128, 8, 8, 4, 16384, 0.0002 * 16384 / 64, 20_000, 0.0025),
        (1024, 8, 4, 4, 32768, 0.0002 * 1048576 / 32, 10_000, 0.002),
        (64, 32, 2, 2, 16384, 0.0002 * 4096 / 64, 20_000, 0.0025),
    ],
)
def test_published_rules(
    size: int, devices: int, batch: int, group: int, base: int, gamma: float, half_life: int, rate: float
) -> None:
    chosen = values(photos(size), gpus(devices))
    assert chosen["size"] == size
    assert (chosen["batch"], chosen["minibatch_std_group"], chosen["channel_base"]) == (batch, group, base)
    assert chosen["gamma"] == pytest.approx(gamma, rel=1e-3)
    assert (chosen["half_life"], chosen["learning_rate"], chosen["mapping_layers"]) == (half_life, rate, 2)
    assert chosen["updates"] * batch * devices == pytest.approx(25e6, rel=1e-4)
    assert chosen["accumulate"] == 1


@pytest.mark.parametrize(
    ("side", "size"), [(8, 16), (31, 16), (32, 32), (178, 128), (255, 128), (256, 256), (4000, 1024)]
)
def test_size_is_the_power_of_two_below(side: int, size: int) -> None:
    assert values(photos(side), gpus())["size"] == size


def test_a_few_small_images_do_not_decide_the_size() -> None:
    assert values(Survey(100, np.array([20] * 9 + [300] * 91)), gpus())["size"] == 256
    assert values(Survey(100, np.array([20] * 12 + [300] * 88)), gpus())["size"] == 16


def test_what_is_given_decides_what_follows() -> None:
    chosen = values(photos(1024), gpus(), size=64, batch=16)
    assert chosen["gamma"] == pytest.approx(0.0002 * 64**2 / 16)
    assert (chosen["half_life"], chosen["channel_base"], chosen["learning_rate"]) == (5_000, 16384, 0.0025)


def test_a_small_gpu_takes_the_batch_in_parts_and_a_tiny_one_smaller_images() -> None:
    whole, parts = values(photos(256), gpus()), values(photos(256), gpus(gib=6))
    assert parts["accumulate"] > 1
    assert parts["batch"] == whole["batch"]
    assert parts["batch"] % parts["accumulate"] == 0
    assert parts["minibatch_std_group"] <= parts["batch"] // parts["accumulate"]
    assert values(photos(1024), gpus(gib=3))["size"] < 1024


def test_a_cpu_gets_small_images_and_narrow_networks() -> None:
    chosen = {cores: values(photos(1024), laptop(cores)) for cores in (1, 4, 64)}
    assert {c["size"] for c in chosen.values()} == {64}
    widths = [c["channel_base"] for c in chosen.values()]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] <= 16384
    assert values(photos(32), laptop())["channel_base"] >= chosen[4]["channel_base"]


def test_few_images_are_mirrored_and_bound_the_batch() -> None:
    assert values(photos(64, 1_000), gpus())["mirror"] is True
    assert values(photos(64, 70_000), gpus())["mirror"] is False
    assert values(photos(64, 20), gpus())["batch"] == 16


@pytest.mark.parametrize(
    "fields", [{**FIELDS, "colour": ["data.colour"]}, {"size": ["data.size"]}], ids=["more", "less"]
)
def test_fields_must_be_known_and_there(fields: dict[str, list[str]]) -> None:
    with pytest.raises(UserError, match=r"auto\.fields"):
        StyleGAN2Auto(fields=fields)
