"""What version 0.1 could name is named still, by the name it has now."""

from __future__ import annotations

from pathlib import Path

import pytest
from config.test_trust import nameable

from adversaria.config.aliases import MOVED, current_name, with_current_names

#: all that a stored config could name in version 0.1
OLD = (Path(__file__).parents[1] / "stored" / "names.txt").read_text("utf-8").split()


@pytest.mark.parametrize("name", OLD)
def test_an_old_name_leads_to_one_that_may_be_named(name: str) -> None:
    assert current_name(name) in nameable()


def test_a_name_of_today_stays() -> None:
    assert {current_name(name) for name in nameable()} == nameable()
    assert [current_name(name) for name in ("torch.nn.Linear", "mypackage.gan.GAN", "adversaria")] == [
        "torch.nn.Linear",
        "mypackage.gan.GAN",
        "adversaria",
    ]


def test_no_row_of_the_table_is_dead() -> None:
    """Each old beginning leads a name, or an exported one such as ``adversaria.losses.AdversarialLoss``."""
    packages = {name.split(".")[1] for name in OLD}
    assert {row.split(".")[0] for row in MOVED} <= packages


def test_targets_alone_are_changed_wherever_they_stand() -> None:
    config = {"a": [{"_target_": "adversaria.gan.GAN", "name": "adversaria.gan.GAN"}], "b": {"_target_": 3}}
    assert with_current_names(config) == {
        "a": [{"_target_": "adversaria.systems.gan.GAN", "name": "adversaria.gan.GAN"}],
        "b": {"_target_": 3},
    }
