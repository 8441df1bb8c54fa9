"""The group ``regulariser`` by its name of version 0.1, ``penalty``: typed, in a user's files, in what runs left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import adversaria
from adversaria.cli import inprocess, train
from adversaria.cli.inprocess import compose
from adversaria.config import aliases
from adversaria.config.aliases import typed_today, up_to_date
from adversaria.config.fields import check_train_config
from adversaria.core.errors import UserError
from adversaria.reporting.compare.runs import read_runs
from adversaria.reporting.compare.sections import make_sections
from adversaria.reporting.doctor.history import read_history
from adversaria.runs.folder import Run
from adversaria.systems.build import build_system

POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "data.batch_size=4",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "~callbacks.samples",
    "~callbacks.health",
    "trainer.max_steps=2",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    "logger=csv",
)
R1 = "adversaria.objectives.terms.R1"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _said_again() -> None:
    """What is said once in a process is said once in each test."""
    aliases._say.cache_clear()


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def as_of_old(run: Path) -> None:
    """Makes of a run's folder, its checkpoints included, what version 0.1 would have written."""
    for name in ("config.yaml", "overrides.txt"):
        text = (run / name).read_text()
        (run / name).write_text(re.sub(r"(?m)^(\W*)regulariser\b|\bregulariser(?=\.)", r"\1penalty", text))
    for file in run.glob("checkpoints/*.ckpt"):
        content = torch.load(file, weights_only=True)
        content["config"] = {("penalty" if k == "regulariser" else k): v for k, v in content["config"].items()}
        torch.save(content, file)
    assert "regulariser" not in (run / "config.yaml").read_text() + (run / "overrides.txt").read_text()


@pytest.mark.parametrize(
    "typed",
    [
        ["penalty=r1", "penalty.r1.weight=3"],
        ["penalty=[r1,lecam]", "++penalty.lecam.decay=0.5"],
        [f"+penalty.mine={{_target_: {R1}, weight: 2}}"],
        [f"+penalty.mine._target_={R1}", "+penalty@x=none"],
        ["model=wgan_gp", "~penalty.gradient_penalty"],
        ["~penalty"],
        ["penalty=[r1,r2]", "penalty.r2.weight='${penalty.r1.weight}'"],
    ],
)
def test_what_was_typed_means_the_same(typed: list[str]) -> None:
    today = [re.sub(r"\bpenalty\b", "regulariser", line) for line in typed]
    assert compose("model=dcgan", *typed) == compose("model=dcgan", *today)


def test_the_american_spelling_is_answered_with_ours() -> None:
    for line in ("regularizer=r1", "regularizer.r1.weight=1"):
        with pytest.raises(UserError, match="did you mean regulariser"):
            compose(line)
    added = compose("+regularizer.x=1")
    with pytest.raises(UserError, match="did you mean regulariser"):
        check_train_config(added)


@pytest.fixture
def mine(in_tmp: Path) -> str:
    """``--config-dir`` of a user's files with old names."""
    files = {
        "penalty/mine.yaml": f"# @package penalty.mine\n_target_: {R1}\nweight: 2\n",
        "penalty/both.yaml": "defaults: [mine, /penalty/lecam, r2]\n",
        "regulariser/new.yaml": f"# @package regulariser.new\n_target_: {R1}\nweight: 5\n",
        "experiment/mine.yaml": "# @package _global_\ndefaults: [override /penalty: [r1, mine]]\n"
        "penalty: {r1: {weight: 7}, mine: {weight: '${penalty.r1.weight}'}}\n",
        "sweep/mine.yaml": "# @package _global_\nsweep_name: mine\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {penalty: 'none,r1', '+penalty.x._target_': " + R1 + "}}}\n",
    }
    return f"--config-dir={write(in_tmp / 'my_conf', files)}"


def composed(command: Command, *arguments: str) -> dict[str, Any]:
    """The config that ``train.py`` prints."""
    code, out, err = command(train, *arguments, "--cfg", "job")
    assert code == 0, err
    config: dict[str, Any] = yaml.safe_load("\n".join(line for line in out.splitlines() if "old name" not in line))
    assert "penalty" not in config
    regularisers: dict[str, Any] = config["regulariser"]
    return regularisers


def test_files_of_a_user_are_read(command: Command, mine: str) -> None:
    for name in ("penalty", "regulariser"):
        assert composed(command, mine, f"{name}=mine") == {"mine": {"_target_": R1, "weight": 2}}
        assert composed(command, mine, f"{name}=both").keys() == {"mine", "lecam", "r2"}
        assert composed(command, mine, f"{name}=[mine,new,r1]").keys() == {"mine", "new", "r1"}
        # two layers: what is typed wins over the experiment, which wins over the files of the group
        weights = composed(command, mine, "experiment=mine", f"{name}.r1.weight=9")
        assert weights["r1"]["weight"] == 9
        assert weights["mine"]["weight"] == "${regulariser.r1.weight}"
    assert composed(command, mine, "experiment=mine")["r1"]["weight"] == 7


def test_a_mistyped_choice_is_answered_with_all_that_there_are(command: Command, mine: str) -> None:
    code, _, err = command(train, mine, "penalty=minee")
    assert code == 2
    assert "regulariser=minee does not exist; did you mean mine" in err
    assert all(f" {name}" in err for name in ("mine", "new", "lecam"))


def test_a_group_of_that_name_within_another_is_left_alone(command: Command, in_tmp: Path) -> None:
    files = {"own/a.yaml": "defaults: [penalty: b]\n", "own/penalty/b.yaml": "weight: 3\n"}
    folder = write(in_tmp / "my_conf", files)
    code, out, err = command(train, f"--config-dir={folder}", "+own=a", "--cfg", "job")
    assert code == 0, err
    assert yaml.safe_load(out)["own"] == {"penalty": {"weight": 3}}


def test_the_old_name_is_said_once(command: Command, mine: str) -> None:
    _, out, _ = command(train, mine, "experiment=mine", "penalty.r1.weight=1", "--cfg", "job")
    said = [line for line in out.splitlines() if "old name" in line]
    assert said == ["old name   penalty is called regulariser now"]
    _, out, _ = command(train, mine, "regulariser=[r1,new]", "--cfg", "job")
    assert "old name" not in out


def test_sweeps_of_a_users_files_have_keys_of_today(command: Command, mine: str, in_tmp: Path) -> None:
    code, _, err = command(train, mine, *POINTS, "sweep=mine", "sweep_dir=swept")
    assert code == 0, err
    assert {path.parent.name for path in in_tmp.glob("swept/*/result.json")} == {"regulariser-none", "regulariser-r1"}
    assert set((Run("swept/regulariser-r1").stored_config() or {})["regulariser"]) == {"r1", "x"}


def test_an_old_sweep_is_done_and_its_runs_stand_beside_new_ones(command: Command, in_tmp: Path) -> None:
    for word in ("regulariser", "penalty"):
        code, out, err = command(train, "-m", *POINTS, f"{word}=none,r1", "sweep_dir=old")
        assert code == 0, err
        if word == "regulariser":
            for choice in ("none", "r1"):
                as_of_old((in_tmp / f"old/regulariser-{choice}").rename(in_tmp / f"old/penalty-{choice}"))
    assert out.count("is done") == 2
    assert sorted(path.name for path in in_tmp.glob("old/*/")) == ["penalty-none", "penalty-r1"]
    assert command(train, *POINTS, "regulariser=r1", "seed=2", "run_dir=new")[0] == 0
    runs, problems = read_runs([*in_tmp.glob("old/*/"), in_tmp / "new"])
    assert not problems
    (section,) = make_sections(runs)
    assert {c.name: len(c.runs) for c in section.configurations} == {"regulariser=none": 1, "regulariser=r1": 2}


def test_an_old_run_goes_on_and_is_looked_at(command: Command, in_tmp: Path) -> None:
    given = (*POINTS, "penalty=r1", "penalty.r1.interval=1")
    for name in ("old", "whole"):
        steps = "trainer.max_steps=2" if name == "old" else "trainer.max_steps=4"
        assert command(train, *given, f"run_dir={name}", steps)[0] == 0
    as_of_old(in_tmp / "old")
    before = adversaria.load("old").sample(4)
    code, _, err = command(train, "run_dir=old", "trainer.max_steps=4", "penalty.r1.interval=2")
    assert code == 2
    assert "regulariser.r1.interval: 1 -> 2" in err
    for again in ((), given):  # what was typed then says nothing new
        code, _, err = command(train, *again, "run_dir=old", "trainer.max_steps=4")
        assert code == 0, err
    samples = [adversaria.load(run).sample(4) for run in ("old", "whole")]
    assert torch.equal(*samples)
    assert not torch.equal(before, samples[0])
    configs = [read_history(in_tmp / name).config for name in ("old", "whole")]  # what doctor.py examines
    assert [key for key in configs[0] if "r1" in key] == [key for key in configs[1] if "r1" in key]
    runs, problems = read_runs([in_tmp / "old"])
    assert not problems
    assert [text for text in runs[0].overrides if "r1" in text] == ["regulariser=r1", "regulariser.r1.interval=1"]


def test_the_keys_that_auto_chooses_are_those_of_today() -> None:
    auto = {"fields": {"gamma": ["penalty.r1.weight", "data.size"]}, "keep": ["penalty.r1.weight"]}
    assert up_to_date({"auto": {**auto, "choices": {"penalty.r1.weight": 0.5}}})["auto"] == {
        "fields": {"gamma": ["regulariser.r1.weight", "data.size"]},
        "keep": ["regulariser.r1.weight"],
        "choices": {"regulariser.r1.weight": 0.5},
    }
    for choices in (None, {"data.size": 3}):
        assert up_to_date({"auto": {**auto, "choices": choices}})["auto"]["choices"] == choices
    assert up_to_date({"auto": {}}) == {"auto": {}}


def test_what_is_typed_by_an_old_name_is_not_chosen(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(config: Any, overrides: Any, stored: Any) -> Any:
        raise UserError(" ".join(overrides))

    monkeypatch.setattr(inprocess, "settle", settle)
    with pytest.raises(UserError, match=r"^regulariser=r1 regulariser\.r1\.weight=3$"):
        inprocess.train("penalty=r1", "penalty.r1.weight=3", run_dir=in_tmp / "run")


def test_references_are_of_today_and_their_likes_are_left() -> None:
    assert [typed_today(f"a='{text}'") for text in ("${penalty.r1.weight}", "${f:${penalty[r1].weight},1}")] == [
        "a='${regulariser.r1.weight}'",
        "a='${f:${regulariser[r1].weight},1}'",
    ]
    for line in ("a=penalty", "a='${.penalty}'", "a='${penalty_factor}'", "callbacks.guard.penalty_factor=2"):
        assert typed_today(line) == line


class OfOld(torch.nn.Module):
    """A system of a user's own, with the argument of version 0.1."""

    def __init__(self, spec: Any, penalty: Any) -> None:
        super().__init__()


def test_a_system_of_a_users_own_says_which_argument_to_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adversaria.config.admission.Trust.find", lambda *_, **__: OfOld)
    with pytest.raises(UserError, match="OfOld takes penalty, which is called regulariser now; rename the argument"):
        build_system(compose("model=mlp", "data=ring8"), spec=None)
