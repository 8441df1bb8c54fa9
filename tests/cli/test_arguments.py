"""The command line as Hydra reads it: quoting that survives, and sentences that show what to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from adversaria.cli import arguments, compare, doctor, evaluate, inprocess, sample, train
from adversaria.config.overrides import parse
from adversaria.core.errors import UserError

Command = Callable[..., tuple[int, str, str]]

NAMES = [
    "my photos, a=b (1) [x] ü",
    "it's",
    'say "cheese"',
    "both ' and \"",
    "ends with \\",
    "a\\'b",
    'a\\"b',
    "${seed}",
    "\\${seed}",
    "\\\\${seed}'\"",
    "C:\\new\\photos",
    "caf\udce9",
    "two\nlines",
    "null",
    "1e3",
    "[x]",
    "{a: b}",
    "#;&|<>~!^`*?",
    "",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_what_is_quoted_is_read_back(name: str, quote: str) -> None:
    quoted = arguments.quoted(name, quote)
    arguments.check([f"run_dir={quoted}"])
    assert arguments.chosen([f"run_dir={quoted}"], "run_dir") == name
    override = parse(f"runs=[{quoted},x]")
    assert override is not None
    assert OmegaConf.to_container(OmegaConf.create({"runs": override.value()}), resolve=True) == {"runs": [name, "x"]}


@pytest.mark.parametrize(
    "argument",
    [
        "run_dir=a=b (1) [x]",
        "run_dir=my photos, a=b (1) [x] ü",
        "run_dir=[x]",
        "run_dir={a:b}",
        "run_dir=a,b",
        "run_dir=1e3",
        "run_dir=true",
        "run_dir=it's",
        "++run_dir=x (1)",
        "data.root=photos (1)",
        "data.root=2024",
        "checkpoint=übung/checkpoints/last.ckpt",
        "images=a#b",
        "reference=a;b",
        "out=~/x.png",
        "metrics.cache_dir=a&b",
        "callbacks.warm_start.checkpoint=a[1].ckpt",
        "sweep_dir=a!b",
        "data.name=a(b",
    ],
)
def test_what_the_sentence_shows_can_be_typed(argument: str) -> None:
    with pytest.raises(UserError) as raised:
        arguments.check([argument])
    [typed] = shlex.split(str(raised.value)[str(raised.value).index(" type ") + 6 :])  # as a shell would
    arguments.check([typed])
    key, text = argument.split("=", 1)
    assert arguments.chosen([typed], key.lstrip("+")) == text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["data.root=my", "photos,"], r"""photos, is no choice .* type 'data\.root="my photos,"'$"""),
        (["run_dir"], r"^run_dir is no choice such as key=value$"),
        ([""], r"^an empty argument is no choice"),
        (["data.batch_size=[1"], r"a \[ or \] is missing"),
        (["model=dcgan,sngan"], r"add -m to try each, or type 'model=\[dcgan,sngan\]' for a list"),
        (["seed=range(1,3)"], r"seed=range\(1,3\) has several values; add -m to try each$"),
        (["runs=[2024,x]"], r"quote each path"),
        (["run_dir=\x1b[2Jx (1)"], r"run_dir=\\x1b"),
    ],
    ids=str,
)
def test_what_hydra_cannot_read_is_said(given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        arguments.check(given)


@pytest.mark.parametrize(
    "given",
    [
        ["-m", "run_dir=a,b", "seed=range(1,3)"],
        ["--multirun", "loss=hinge,wasserstein"],
        ["hydra.mode=MULTIRUN", "seed=1,2"],
        ["--config-name", "no [choice", "seed=1"],
        ["~data", "+regulariser.second={weight: 1}", "++a.b=[1,2]", "callbacks.samples.images=3", "run_dir=null"],
        ["checkpoint=runs/1/checkpoints/last.ckpt", "data.root=007", 'runs=[a,"2"]', "out=my\\ photos"],
    ],
    ids=str,
)
def test_what_hydra_reads_passes(given: list[str]) -> None:
    arguments.check(given)


def test_the_options_that_take_a_value_are_those_of_hydra() -> None:
    from hydra._internal.utils import get_args_parser

    options = [action for action in get_args_parser()._actions if action.option_strings and action.nargs != 0]
    assert {name for action in options for name in action.option_strings} == arguments._WITH_VALUE


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (["run_dir=a", "seed=1", "run_dir=b"], "b"),
        (["++run_dir='my run'"], "my run"),
        (["+run_dir=my\\ run"], "my run"),
        (["run_dir=a", "~run_dir"], None),
        (["run_dir=null"], None),
        (["run_dirs=a", "data.run_dir=b"], None),
        (["-m", "run_dir=a,b"], None),
        (["--config-name", "run_dir=a"], None),
        (["run_dir=${oc.env:FOLDER}/x"], "/somewhere/x"),
        (["run_dir=runs/${seed}"], None),
        (["[broken", "run_dir=a"], "a"),
    ],
    ids=str,
)
def test_the_last_choice_of_a_key_counts(monkeypatch: pytest.MonkeyPatch, given: list[str], value: str | None) -> None:
    monkeypatch.setenv("FOLDER", "/somewhere")
    assert arguments.chosen(given, "run_dir") == value


@pytest.mark.parametrize("key", ["run_dir=", "++run_dir="])
@pytest.mark.parametrize("name", ["my photos, a=b (1) [x] ü", "it's", "caf\udce9"], ids=ascii)
def test_a_run_is_found_however_its_folder_is_called(in_tmp: Path, key: str, name: str) -> None:
    (in_tmp / name).mkdir()
    (in_tmp / name / "config.yaml").write_text("{}", "utf-8")
    (in_tmp / name / "overrides.txt").write_text("seed=3\n", "utf-8")
    given = ["trainer.max_steps=2", f"{key}{arguments.quoted(name)}"]
    with train.going_on(given) as (arguments_for_hydra, _):
        assert arguments_for_hydra == given


@pytest.mark.parametrize(
    ("module", "argument"),
    [
        (train, "run_dir=a=b (1)"),
        (sample, "checkpoint=a=b (1)"),
        (evaluate, "images=a=b (1)"),
        (compare, "out=a=b (1)"),
        (doctor, "runs=a=b (1)"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_command_shows_how_to_quote(command: Command, in_tmp: Path, module: object, argument: str) -> None:
    code, _, err = command(module, argument)
    assert code == 2
    [line] = err.splitlines()
    assert line.startswith(f"error: {argument} has characters")
    assert re.search(r"""type '\w+="a=b \(1\)"'$""", line)
    assert list(in_tmp.iterdir()) == []


def test_from_python_the_same_sentence() -> None:
    with pytest.raises(UserError, match="has characters that Hydra reads in another way"):
        inprocess.compose("data.root=a=b (1)")


@pytest.mark.parametrize("name", [name for name in NAMES if name and "/" not in name], ids=ascii)
def test_runs_to_compare_are_named_by_plain_paths(in_tmp: Path, name: str) -> None:
    (in_tmp / name).mkdir()
    named = compare.name_runs([name, "strict=true"])
    assert named[0] == "strict=true"
    assert arguments.chosen(named, "runs") == [name]


def test_runs_are_named_in_one_way(in_tmp: Path) -> None:
    assert compare.name_runs(["~/runs"]) == ["runs=['~/runs']"]
    assert compare.name_runs(["~runs", "runs=x"]) == ["~runs", "runs=x"]
    with pytest.raises(UserError, match="stands beside runs="):
        compare.name_runs(["a", "++runs=b"])
