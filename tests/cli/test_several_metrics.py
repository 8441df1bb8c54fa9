"""Several metrics in one run, from training to the report: each with its own fingerprint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adversaria.cli import compare, evaluate, sample, train
from adversaria.runs.folder import Run

Command = Callable[..., tuple[int, str, str]]
#: the same classifier once more, with another number of fakes
FEW, MORE = ("metrics=classifier", "metrics.count=64"), ("+metrics@metrics.more=classifier", "metrics.more.count=80")
BOTH = ("metrics=classifier", "metrics.classifier.count=64", *MORE)
BASE = ("model=dcgan", "data=digits", "trainer.max_steps=4", "callbacks.evaluation.every_n_steps=2")


def test_two_metrics_in_one_run(command: Command, tiny: tuple[str, ...]) -> None:
    """Each gives the scores that it gives alone, under its own fingerprint, after an interruption too."""

    def printed_by(*arguments: Any) -> str:
        code, printed, err = command(*arguments)
        assert code == 0, err
        return printed

    def trained(name: str, *overrides: str) -> dict[str, Any]:
        printed_by(train, *BASE, *tiny, *overrides, f"run_dir={name}")
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
    printed_by(sample, "checkpoint=both", "count=4")

    printed = printed_by(evaluate, "checkpoint=both", "memorisation=nearest", "memorisation.count=64")
    records = json.loads(Path("both/evaluation.json").read_text())["records"]
    last = [record for record in records if record["subject"] == "last"]
    assert [record["fingerprint_id"] for record in last] == [each["fingerprint_id"] for each in alone]
    assert last[0]["metrics"] | last[1]["metrics"] == both["metrics"]
    assert "metrics    more as the checkpoint says" in printed
    printed_by(evaluate, "checkpoint=few", "metrics.count=80", "out=more.json")
    assert json.loads(Path("more.json").read_text())["records"][0]["metrics"] == alone[1]["metrics"]

    report = printed_by(compare, "both", "halves", "out=same")
    assert "A:" not in report
    assert "classifier_fid80" in Path("same/report.md").read_text()
    report = printed_by(compare, "both", "few", "out=apart")
    assert "A: " in report
    assert "B: " in report
    section_a, section_b = Path("apart/report.md").read_text().split("## B: ")
    assert "classifier_fid80" not in section_a.split("## A: ")[1]
    assert section_b.startswith("classifier_fid80")
    assert "| few |" not in section_b
