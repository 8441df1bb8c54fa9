"""What is read from the folders of runs, and what becomes of damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adversaria.core.errors import UserError
from adversaria.reporting.compare import find_runs, read_runs
from adversaria.reporting.compare.runs import read_run

MakeRun = Callable[..., Path]


def test_curves_have_images_and_seconds_of_training(make_run: MakeRun) -> None:
    run = read_run(make_run("a", curve=[9.0, 4.0, 5.0], seconds=61.0))
    assert run.curve("classifier_fid10k") == [
        (1000, 64_000, 20.0, 9.0),
        (2000, 128_000, 40.0, 4.0),
        (3000, 192_000, 60.0, 5.0),
    ]
    assert run.largest_gradient_norm == 4.5


def test_scores_between_two_logged_steps_get_the_time_between(make_run: MakeRun) -> None:
    folder = make_run("a", seconds=50.0)
    lines = "step,images_seen,seconds,score/x\n1000,64000,10,\n1500,,,3\n2000,128000,30,\n3000,,,1\n"
    (folder / "metrics.csv").write_text(lines)
    assert read_run(folder).curve("x") == [(1500, 96_000, 20.0, 3.0), (3000, 192_000, 50.0, 1.0)]


def test_the_best_checkpoint_has_all_scores_of_its_step(make_run: MakeRun) -> None:
    run = read_run(make_run("a", curve=[9.0, 4.0, 5.0], scores={"classifier_is10k": 7.0}))
    assert run.scores == {"classifier_fid10k": 5.0, "classifier_is10k": 7.0}
    assert run.scores_at_best == {"classifier_fid10k": 4.0, "classifier_is10k": 6.0}


def test_scores_that_are_no_numbers_are_none(make_run: MakeRun) -> None:
    run = read_run(make_run("a", metrics={"fid10k": None, "is10k": 3}, best=None))
    assert run.scores == {"is10k": 3.0}
    assert run.scores_at_best == {}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("result.json", "{", "holds no JSON"),
        ("result.json", "[]", "no mapping"),
        ("result.json", '{"status": "finished"}', "generator_updates is missing"),
        ("result.json", None, "still runs or was killed"),
        ("config.yaml", "a: [", "holds no YAML"),
        ("config.yaml", "text", "not a config"),
    ],
)
def test_damaged_runs_are_named_and_left_out(
    make_run: MakeRun, tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    make_run("good")
    bad = make_run("bad")
    (bad / file).unlink() if content is None else (bad / file).write_text(content)
    records, warnings = read_runs(find_runs([str(tmp_path)]))
    assert [record.path.name for record in records] == ["good"]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{bad} is left out: ")
    assert message in warnings[0]


@pytest.mark.parametrize("content", [None, "", "\0\0\0", "step,score/classifier_fid10k\n1000,\n20", "step\nx\n"])
def test_a_run_without_readable_metrics_has_its_result(make_run: MakeRun, content: str | None) -> None:
    folder = make_run("a", curve=[9.0, 4.0])
    (folder / "metrics.csv").unlink() if content is None else (folder / "metrics.csv").write_text(content)
    run = read_run(folder)
    assert run.scores == {"classifier_fid10k": 4.0}
    assert run.scores_at_best == {"classifier_fid10k": 4.0}
    assert run.curve("classifier_fid10k") == []
    assert run.largest_gradient_norm is None


def test_results_of_older_versions_lack_costs(make_run: MakeRun) -> None:
    run = read_run(make_run("a", cost=None, rollbacks=None, images_per_second=None))
    assert run.cost("flops", "generator") is None
    assert run.images_per_second is None
    assert not run.rolled_back


def test_runs_are_found_by_folder_and_by_pattern_once(make_run: MakeRun, tmp_path: Path) -> None:
    a, b = make_run("sweep/0"), make_run("sweep/1")
    logger = a / "wandb" / "files"
    logger.mkdir(parents=True)
    (logger / "config.yaml").write_text("x: 1\n")
    assert find_runs([str(tmp_path)]) == [a, b]
    assert find_runs([str(tmp_path / "runs" / "*" / "1"), str(tmp_path)]) == [b, a]
    with pytest.raises(UserError, match="holds no run"):
        find_runs([str(tmp_path / "nowhere*")])
