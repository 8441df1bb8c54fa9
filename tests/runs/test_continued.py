"""A run goes on from its stored config; the command line changes what it names, and today's defaults nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from adversaria.config import overrides
from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError
from adversaria.runs.continued import all_overrides, continued
from adversaria.runs.folder import Run

STORED = Path(__file__).parents[1] / "stored"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The SNGAN of version 0.1, without a word of what was typed to start it."""
    shutil.copytree(STORED / "sngan", tmp_path / "mine")
    (tmp_path / "mine" / "overrides.txt").unlink()
    return Run(tmp_path / "mine")


def going_on(run: Run, *given: str) -> dict[str, Any]:
    """The config with which ``run`` goes on."""
    with continued(run, given) as (changes, folder), initialize_config_dir(str(folder), version_base="1.3"):
        return OmegaConf.to_container(compose("train", changes), resolve=True)


def test_all_of_the_stored_config_comes_back(run: Run) -> None:
    stored, config = run.stored_config(), going_on(run)
    own = {key: value for key, value in stored.items() if overrides.of_a_run(key)}
    assert {key: config[key] for key in own} == own


def test_the_command_line_changes_what_it_names(run: Run) -> None:
    config = going_on(run, "trainer.max_steps=99", "+trainer.max_time=00:01:00", "~callbacks.progress", "data.root=x")
    stored = run.stored_config()
    assert config["trainer"] == {**stored["trainer"], "max_steps": 99, "max_time": "00:01:00"}
    assert config["callbacks"] == {key: node for key, node in stored["callbacks"].items() if key != "progress"}
    assert config["data"] == {**stored["data"], "root": "x"}


def test_a_new_choice_replaces_what_the_old_one_brought(run: Run) -> None:
    stored = run.stored_config()
    stored["callbacks"]["guard"] |= {"findings": ["not_finite"], "trial": 3}
    run.config.write_text(yaml.safe_dump(stored))
    config = going_on(run, "guard=watch", "logger=csv")
    assert config["callbacks"]["guard"].keys() == {"_target_", "action"}
    assert config["logger"].keys() == {"csv"}


def test_what_was_typed_at_the_start_is_in_the_config_already(run: Run) -> None:
    """A name of ``conf/`` that is typed again does not bring what it means today."""
    run.overrides.write_text("model=sngan\nguard=rollback\n+trainer.max_time=1\nguard=watch\n")
    given = ["model=sngan", "+trainer.max_time=1", "seed=0", "guard=watch", "guard=rollback"]
    with continued(run, given) as (changes, _):
        assert changes == ["seed=0", "guard=watch", "guard=rollback"]
    with continued(run, ["guard=rollback", "guard=watch"]) as (changes, _):
        assert changes == []


def test_the_choices_of_all_starts_are_kept_in_their_order(run: Run) -> None:
    run.overrides.write_text("model=sngan\ntrainer.max_steps=8\ndata.root='a b'\n")
    given = ["trainer.max_steps=12", 'data.root="a b"']
    assert all_overrides(run, given) == ["model=sngan", "trainer.max_steps=8", *given]


def test_a_stored_text_refers_to_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "told")
    stored = run.stored_config()
    for text in ("${oc.env:SECRET}", "\\${seed}", "a ${seed} b"):
        run.config.write_text(yaml.safe_dump({**stored, "sweep": None, "loss": {"name": text}}))
        overrides.note([run.config.read_text()])
        assert going_on(run)["loss"]["name"] == text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.root", "photos"),
        ("data.cache_dir", "/home/somebody"),
        ("trainer.default_root_dir", "x"),
        ("callbacks.samples.any", ["~/x"]),
        ("logger.csv.save_dir", "elsewhere"),
        ("data.root", "."),
    ],
)
def test_a_path_of_another_machine_is_to_be_given_again(run: Run, key: str, value: Any) -> None:
    stored = run.stored_config()
    *above, last = key.split(".")
    node = stored
    for name in above:
        node = node[name]
    node[last] = value
    run.config.write_text(yaml.safe_dump(stored))
    with pytest.raises(UserError, match=rf"{key}=.* another machine"), continued(run, []):
        pass
    with continued(run, [f"{key}=mine"]):
        pass
    overrides.note([run.config.read_text()])  # this machine has written it
    with continued(run, []):
        pass


def test_a_path_that_this_machine_typed_may_stand_in_a_config_of_an_earlier_version(run: Run) -> None:
    stored = run.stored_config()
    stored["data"]["root"] = "photos"
    run.config.write_text(yaml.safe_dump(stored))
    run.overrides.write_text("data.root=photos\n")
    overrides.note(["data.root=photos"])
    with continued(run, []):
        pass


def test_a_choice_with_a_dot_is_added_as_it_was_typed(run: Run) -> None:
    with continued(run, ["+trainer.max_time=1", "+mine=a.b"]) as (changes, _):
        assert changes == ["++trainer.max_time=1", "+mine=a.b"]


def test_the_packages_own_paths_are_known_wherever_it_lies(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the folder ``conf/hydra`` is left out, not all below a folder of that name."""
    conf = shutil.copytree(conf_dir(), tmp_path / "hydra" / "conf")
    (conf / "data" / "mine.yaml").write_text("root: /somewhere/shipped\n")
    monkeypatch.setattr(overrides, "conf_dir", lambda: conf)
    stored = run.stored_config()
    stored["data"]["root"] = "/somewhere/shipped"
    run.config.write_text(yaml.safe_dump(stored))
    overrides.refuse_foreign_places(stored, run.config, run.overrides, [])


def test_a_field_that_came_later_has_its_default(run: Run) -> None:
    stored = {key: value for key, value in run.stored_config().items() if key != "compile"}
    run.config.write_text(yaml.safe_dump(stored))
    config = going_on(run)
    assert config["compile"] == "auto"
    run.check_same(config)
