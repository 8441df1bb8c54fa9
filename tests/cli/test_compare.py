"""``compare.py`` as a user calls it, on runs that were really trained."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adversaria.cli import compare
from adversaria.cli.compare import name_runs
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run

Command = Callable[..., tuple[int, str, str]]
POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "metrics.count=100",
    "model.generator.width=8",
    "trainer.max_steps=4",
    "trainer.log_every_n_steps=1",
    "callbacks.evaluation.every_n_steps=2",
    "callbacks.evaluation.max_share=null",
    "trainer.accelerator=cpu",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_config: Any) -> Path:
    """Two losses with two seeds each, and a run that was scored on fewer samples."""
    from adversaria.training.experiment import build_experiment, train

    folder = tmp_path_factory.mktemp("compare") / "sweep=1"
    for name, overrides in (
        ("0", ("loss=hinge", "seed=1")),
        ("1", ("loss=hinge", "seed=2")),
        ("2", ("loss=least_squares", "seed=1")),
        ("3", ("loss=least_squares", "seed=2")),
        ("fewer", ("loss=hinge", "metrics.count=50")),
    ):
        config = make_config(*POINTS, *overrides)
        run = Run(folder / name)
        with run.started(config, [*POINTS, *overrides]):
            run.write_result(train(build_experiment(config), run))
    return folder


def test_a_sweep_becomes_a_report(command: Command, trained: Path, in_tmp: Path) -> None:
    code, printed, err = command(compare, *(str(trained / name) for name in "0123"), "out=report")
    assert code == 0, err
    assert "| loss=hinge | 2 |" in printed
    assert "| loss=least_squares | 2 |" in printed
    assert printed.splitlines()[-1] == f"report     {Path('report') / 'report.html'}"
    files = {str(path.relative_to("report")) for path in Path("report").rglob("*") if path.is_file()}
    texts = {f"report.{suffix}" for suffix in ("html", "md", "csv", "tex")}
    assert files == texts | {f"figures/{name}.{suffix}" for name in ("curves", "samples") for suffix in ("pdf", "png")}
    page = (in_tmp / "report" / "report.html").read_text()
    assert page.count("<svg") == 2
    assert page.count("<img") == 3  # training data and two configurations
    rows = list(csv.DictReader((in_tmp / "report" / "report.csv").open()))
    for row in rows:
        result = Run(row["run"]).read_result() or {}
        assert float(row["final/mode_tv"]) == result["metrics"]["mode_tv"]
        assert float(row["cost/flops/generator"]) > 0
        assert float(row["largest_gradient_norm"]) > 0


def test_scores_made_differently_stay_apart_or_are_refused(command: Command, trained: Path, in_tmp: Path) -> None:
    code, printed, err = command(compare, str(trained))
    assert code == 0, err
    assert "fakes: 100 against 50" in printed
    assert (trained / "report" / "report.html").is_file()  # in the folder that was named
    code, _, err = command(compare, str(trained), "strict=true")
    assert code == 2
    assert "fakes: 100 against 50" in err
    assert err.count("\n") == 1


def test_metrics_have_seconds_of_training_beside_images(trained: Path) -> None:
    with (trained / "0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["images_seen"]]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1] <= (Run(trained / "0").read_result() or {})["seconds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs=nowhere"], "runs=nowhere holds no run"),
        (["nowhere"], "runs=nowhere holds no run"),
        (["."], "runs=. holds no run"),
        (["runs=a", "b"], "b stands beside runs="),
        (["{run}", "strict=maybe"], "strict=maybe"),
        (["{run}", "out='{run}/result.json'"], "is a file; name a folder"),
        (["{run}", "outt=x"], "did you mean out"),
    ],
    ids=str,
)
def test_bad_requests_get_a_sentence(
    command: Command, trained: Path, in_tmp: Path, arguments: list[str], message: str
) -> None:
    code, _, err = command(compare, *(argument.replace("{run}", str(trained / "0")) for argument in arguments))
    assert code != 0
    assert message in err
    assert err.count("\n") == 1
    assert list(in_tmp.iterdir()) == []


def test_runs_that_are_all_damaged_are_named(command: Command, in_tmp: Path) -> None:
    Path("a").mkdir()
    Path("a/config.yaml").write_text("seed: 0\n")
    Path("a/result.json").write_text("{")
    code, printed, err = command(compare, "a")
    assert code == 2
    assert "a is left out: a/result.json holds no JSON" in printed
    assert "no run that can be compared" in err


def test_plain_paths_become_runs(in_tmp: Path) -> None:
    Path("lr=1").mkdir()
    assert name_runs(["out=x", "a b", "lr=1", "c'd"]) == ["out=x", r"runs=['a b','lr=1','c\'d']"]
    assert name_runs(["--config-dir", "mine", "-m", "~callbacks.ema", "runs=a"])[-1] == "runs=a"
    assert name_runs(["--help"]) == ["--help"]
    with pytest.raises(UserError):
        name_runs(["a", "runs=b"])
