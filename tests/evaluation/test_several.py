"""Several metrics in one run: each with its own fingerprint, one of them monitored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adversaria.cli import compare, evaluate, sample, train
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training.callbacks import Evaluation

#: the same classifier once more, with another number of fakes
FEW, MORE = ("metrics=classifier", "metrics.count=64"), ("+metrics@metrics.more=classifier", "metrics.more.count=80")
BOTH = ("metrics=classifier", "metrics.classifier.count=64", *MORE)
BASE = ("model=dcgan", "data=digits", "trainer.max_steps=4", "callbacks.evaluation.every_n_steps=2")


class Given:
    """Metrics that say what they are told."""

    mode = "min"

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor


@pytest.fixture
def command(in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(module: Any, *arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["command", *arguments])
        code = module.main()
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return call


def test_the_first_is_monitored_unless_another_is_named() -> None:
    metrics: Any = {"a": Given("fid"), "b": Given("tv")}
    for name, expected in ((None, "fid"), ("a", "fid"), ("b", "tv")):
        monitored = Evaluation(metrics=metrics, monitor=name).monitored
        assert monitored is not None
        assert monitored.monitor == expected
    assert Evaluation().monitored is None
    with pytest.raises(UserError, match=r"callbacks\.evaluation\.monitor=c .* a, b"):
        Evaluation(metrics=metrics, monitor="c")


def test_two_metrics_that_give_the_same_score_are_refused() -> None:
    metrics: Any = {"a": Given("fid"), "b": Given("fid")}
    with pytest.raises(UserError, match=r"metrics\.a and metrics\.b both give a score fid"):
        Evaluation(metrics=metrics)


def test_two_metrics_in_one_run(command: Callable[..., str], tiny: tuple[str, ...]) -> None:
    """Each gives the scores that it gives alone, under its own fingerprint, after an interruption too."""

    def trained(name: str, *overrides: str) -> dict[str, Any]:
        command(train, *BASE, *tiny, *overrides, f"run_dir={name}")
        return Run(name).read_result() or {}

    alone = [trained("few", *FEW), trained("most", "metrics=classifier", "metrics.count=80")]
    both = trained("both", *BOTH)
    assert both["metrics"] == alone[0]["metrics"] | alone[1]["metrics"]
    assert [made["fingerprint"] for made in both["fingerprints"].values()] == [each["fingerprint"] for each in alone]
    assert [set(made["scores"]) for made in both["fingerprints"].values()] == [set(each["metrics"]) for each in alone]
    assert both["fingerprint_id"] == alone[0]["fingerprint_id"]
    assert both["best"] == alone[0]["best"]
    other = trained("other", *BOTH, "callbacks.evaluation.monitor=more")
    assert other["best"] == alone[1]["best"]
    assert list(other["fingerprints"]) == ["more", "classifier"]
    trained("halves", *BOTH, "trainer.max_steps=2")
    halves = trained("halves", *BOTH)
    assert {key: halves[key] for key in ("metrics", "best", "fingerprints")} == {
        key: both[key] for key in ("metrics", "best", "fingerprints")
    }
    command(sample, "checkpoint=both", "count=4")

    printed = command(evaluate, "checkpoint=both", "memorisation=nearest", "memorisation.count=64")
    records = json.loads(Path("both/evaluation.json").read_text())["records"]
    last = [record for record in records if record["subject"] == "last"]
    assert [record["fingerprint_id"] for record in last] == [each["fingerprint_id"] for each in alone]
    assert last[0]["metrics"] | last[1]["metrics"] == both["metrics"]
    assert "metrics    more as the checkpoint says" in printed
    command(evaluate, "checkpoint=few", "metrics.count=80", "out=more.json")
    assert json.loads(Path("more.json").read_text())["records"][0]["metrics"] == alone[1]["metrics"]

    report = command(compare, "both", "halves", "out=same")
    assert "A:" not in report
    assert "classifier_fid80" in Path("same/report.md").read_text()
    report = command(compare, "both", "few", "out=apart")
    assert "A: " in report
    assert "B: " in report
    section_a, section_b = Path("apart/report.md").read_text().split("## B: ")
    assert "classifier_fid80" not in section_a.split("## A: ")[1]
    assert section_b.startswith("classifier_fid80")
    assert "| few |" not in section_b
