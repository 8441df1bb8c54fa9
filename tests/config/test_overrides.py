"""What a stored line of overrides may bring back, in whatever spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from adversaria.config import overrides
from adversaria.core.errors import UserError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "overrides.txt"


def brought(file: Path, *lines: str, given: tuple[str, ...] = ()) -> list[str]:
    file.write_text("".join(f"{line}\n" for line in lines))
    return overrides.brought_back(file, given)


def test_choices_for_the_run_come_back_as_they_were(file: Path) -> None:
    lines = [
        "model=dcgan",
        "seed=3",
        "~callbacks.ema",
        "+callbacks.spike={_target_: breaking.Spike, step: 3}",
        "loss=[hinge]",
        "trainer.max_time=07:30:00",
        "regulariser.r1.weight='${stylegan2_gamma:${data.size},${data.batch_size}}'",
        "data.seed='${seed}'",
        "logger=csv",
    ]
    assert brought(file, *lines) == lines


@pytest.mark.parametrize(
    "line",
    [
        "trust=[evil]",
        "+trust=[evil]",
        "++trust.0=evil",
        "~trust",
        "_global_.trust=[evil]",
        "hydra.sweep.dir=x",
        "hydra/launcher=joblib",
        "+data@hydra.x=digits",
        "++hydra.searchpath=[x]",
        "run_dir=other",
        "sweep=seeds",
        "sweep_dir=x",
        "--config-dir=x",
        "-m",
    ],
)
def test_what_belongs_to_one_start_is_left_out(file: Path, line: str) -> None:
    assert brought(file, "seed=3", line) == ["seed=3"]
    assert overrides.for_the_run(["seed=3", line]) == ["seed=3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("data.name=${oc.env:SECRET}", "refer to keys"),
        ("data.name='x${oc.env:SECRET}y'", "refer to keys"),
        ("+data.x={a: [1, '${oc.env:SECRET}']}", "refer to keys"),
        ("data.name='${given:${oc.env:SECRET},x}'", "refer to keys"),
        ("data.name=${oc.decode:x}", "refer to keys"),
        ("data.name=${hydra:runtime.cwd}", "refer to keys"),
        ("data.name=${hydra.runtime.cwd}", "refer to keys"),
        ("data.name=${hydra[runtime]}", "refer to keys"),
        ("data.name='${${seed}}'", "refer to keys"),
        ("seed=1,2", "several values"),
        ("seed=range(1,3)", "several values"),
        ("seed=[1", "line 1"),
        ("\\x00\\xff", "line 1"),
        ("trust =[evil]", "line 1"),
        ("data.root=/elsewhere", "a path or an address"),
        ("data.root=here", "a path or an address"),
        ("data.cache_dir=here", "a path or an address"),
        ("logger=mlflow", "a path or an address"),
        ("logger.csv.save_dir=x", "a path or an address"),
        ("+logger.x={_target_: y}", "a path or an address"),
        ("+data.x={save_dir: y}", "a path or an address"),
        ("data.name=../../evil", "a path or an address"),
        ("data.name='http://evil'", "a path or an address"),
    ],
)
def test_what_no_stored_file_may_say_is_refused(file: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        brought(file, line)
    assert str(file) in str(refusal.value)


def test_a_path_counts_if_this_machine_wrote_it_or_the_command_line_gives_it(file: Path) -> None:
    lines = ["model=dcgan", "data.root=/mine"]
    assert brought(file, *lines, given=("data.root=/other",)) == ["model=dcgan"]
    overrides.note(lines)
    assert brought(file, *lines) == lines
    with pytest.raises(UserError, match="a path or an address"):
        brought(file, *lines, "data.cache_dir=/more")


def test_a_missing_file_brings_nothing_and_a_folder_is_named(file: Path) -> None:
    assert overrides.stored(file) == []
    file.mkdir()
    with pytest.raises(UserError, match=r"overrides\.txt cannot be read"):
        overrides.stored(file)


@pytest.mark.parametrize(
    ("lines", "message"), [(["seed=" + "[" * 3000 + "]" * 3000], "line 1 is no choice"), (["a=1"] * 1001, "1001 lines")]
)
def test_a_file_without_end_is_named(file: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=rf"overrides\.txt.*{message}"):
        brought(file, *lines)
