"""What version 0.1 could name is named still, by the name it has now."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from config.test_trust import nameable

from adversaria.cli.inprocess import compose
from adversaria.config import aliases
from adversaria.config.aliases import METRICS, MOVED, current_name, typed_today, up_to_date, with_current_names
from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError
from adversaria.runs.checkpoints import read_checkpoint
from adversaria.runs.folder import Run

#: all that a stored config could name in version 0.1
OLD = (Path(__file__).parents[1] / "stored" / "names.txt").read_text("utf-8").split()


@pytest.mark.parametrize("name", OLD)
def test_an_old_name_leads_to_one_that_may_be_named(name: str) -> None:
    now = current_name(name)
    assert now in nameable() or (now.startswith("studies.") and pkgutil.resolve_name(now))


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


def test_each_choice_of_metrics_has_the_name_that_it_gets_where_it_has_none() -> None:
    """Or a run of version 0.1 would not be the same run today."""
    for name in METRICS.values():
        header, *rest = (conf_dir() / "metrics" / f"{name}.yaml").read_text("utf-8").splitlines()
        assert header == f"# @package metrics.{name}"
        node: Any = yaml.safe_load("\n".join(rest))
        assert up_to_date({"metrics": node}) == {"metrics": {name: node}} == up_to_date({"metrics": {name: node}})
    assert {path.stem for path in (conf_dir() / "metrics").glob("*.yaml")} == {*METRICS.values(), "none"}
    mine = {"_target_": "mine.Metrics", "extractor": {"_target_": "mine.Extractor"}}
    assert up_to_date({"metrics": mine}) == {"metrics": {"own": mine}}


def test_metrics_of_stored_runs_and_checkpoints_have_names() -> None:
    stored = Path(__file__).parents[1] / "stored" / "dcgan"
    for config in (Run(stored).stored_config(), read_checkpoint(stored / "checkpoints" / "last.ckpt")["config"]):
        assert list((config or {})["metrics"]) == ["classifier"]


def test_a_key_beside_the_only_metrics_is_theirs() -> None:
    both = [
        compose("data=digits", f"metrics.{name}count=64", "metrics.references=[test]") for name in ("", "classifier.")
    ]
    assert both[0] == both[1]
    assert both[0]["metrics"]["classifier"]["count"] == 64
    inner = compose("data=digits", "metrics.extractor.weights=mnist")["metrics"]["classifier"]["extractor"]
    assert inner == {"_target_": "adversaria.features.ClassifierExtractor", "weights": "mnist"}


def test_a_key_beside_several_metrics_has_to_say_of_which_it_is() -> None:
    several = ("data=digits", "metrics=[inception,classifier]")
    assert list(compose(*several)["metrics"]) == ["inception", "classifier"]
    assert compose(*several, "metrics.inception.count=64")["metrics"]["classifier"]["count"] == 10_000
    sentence = r"write metrics\.inception\.count or metrics\.classifier\.count"
    with pytest.raises(UserError, match=sentence):
        compose(*several, "metrics.count=64")


def test_renamed_groups_and_keys_are_read_wherever_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "RENAMED", {"old": "group", "a.b": "a.c.d"})
    assert [
        typed_today(line) for line in ("old=x", "+old.k.v=[1,2]", "~old", "older=1", "a.b={x: 1}", "k@old.m=x")
    ] == [
        "group=x",
        "+group.k.v=[1,2]",
        "~group",
        "older=1",
        "a.c.d={x: 1}",
        "k@group.m=x",
    ]
    config = {"old": {"x": {"y": 1}}, "group": {"x": {"z": 2}}, "a": {"b": 3, "k": 4}}
    today = {"group": {"x": {"z": 2, "y": 1}}, "a": {"k": 4, "c": {"d": 3}}}
    assert up_to_date(config) == today == up_to_date(today)
    assert up_to_date({"a": 1}) == {"a": 1}


def test_config_files_may_have_old_names_of_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_config: Callable[..., Any]
) -> None:
    """Folders, headers, defaults lists and keys; the command line still has the last word."""
    for folder in ("", "new", "old", "recipe"):
        (tmp_path / folder).mkdir(exist_ok=True)
    files = {
        "main": "defaults: [_self_, {new: none}, {recipe: null}]\nnew: {}\nold: {x: {kept: 1}}\n",
        "new/none": "{}",
        "new/y": "# @package old.y\nweight: 2\n",
        "old/z": "# @package old.z\nweight: 3\n",
        "recipe/mine": "# @package _global_\ndefaults: [override /old: [y, z]]\nold: {y: {weight: 4}, z: {weight: 5}}",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(aliases, "RENAMED", {"old": "new"})
    assert make_config(name="main", folder=tmp_path) == {"new": {"x": {"kept": 1}}}
    composed = make_config("recipe=mine", "old.z.weight=6", name="main", folder=tmp_path)
    assert composed == {"new": {"x": {"kept": 1}, "y": {"weight": 4}, "z": {"weight": 6}}}
    composed = make_config("old=z", name="main", folder=tmp_path)
    assert composed == {"new": {"x": {"kept": 1}, "z": {"weight": 3}}}


def test_keys_that_are_no_more_are_left_out_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(aliases, "DROPPED", {"thrift": False})
    aliases._say_dropped.cache_clear()
    assert up_to_date({"seed": 1, "thrift": False, "model": {"thrift": 2}}) == {"seed": 1, "model": {"thrift": 2}}
    assert not caplog.messages  # it said nothing before, either
    caplog.set_level("INFO", "adversaria")
    assert up_to_date({"seed": 1, "thrift": True}) == {"seed": 1}
    assert "thrift is no field any more and changes nothing; leave it out" in caplog.text
    assert [typed_today(line) for line in ("thrift=true", "++thrift=true", "model.thrift=1")] == [
        "++thrift=true",
        "++thrift=true",
        "model.thrift=1",
    ]


def test_gradient_checkpointing_is_read_and_left_out() -> None:
    assert compose("gradient_checkpointing=true") == compose()
