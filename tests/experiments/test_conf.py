"""The configs of the studies, and what tells studies from the framework."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, STUDIES, config_of

from adversaria.config.build import check
from adversaria.config.plain import conf_dir
from studies import CONF

CHOICES = sorted((file.parent.name, file.stem) for file in CONF.rglob("*.yaml"))
#: what a choice stands in
MODEL = {"data": ("model=dirac",), "generator": ("model=dirac",), "discriminator": ("model=dirac",)}


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=[f"{group}={name}" for group, name in CHOICES])
def test_choice_composes_of_fields_that_exist(group: str, name: str) -> None:
    config = config_of(*MODEL.get(group, ()), f"{group}={name}", *STUDIES)
    for place in ("loss", "regulariser", "augment", "optim", "data", "metrics"):
        check(config[place], place, config["trust"])


def test_users_choose_among_recipes_and_not_among_cells_of_studies() -> None:
    there = {file.stem for file in (conf_dir() / "experiment").glob("*.yaml")}
    assert not there & {name for _, name in CHOICES}
    assert not [name for name in there if re.match(r"(depth|dirac|ring8|grid25|stacked_mnist)_", name)]


def test_the_package_knows_of_no_study_but_where_old_names_lead() -> None:
    named = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"\bstudies\.\w|import studies", path.read_text("utf-8"))
    ]
    assert named == ["src/adversaria/config/aliases.py"]
