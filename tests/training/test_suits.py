"""A system and a modality say which detectors make no sense for them; the doctor hears of it from the run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import STUDIES

from adversaria.core.errors import UserError
from adversaria.core.types import FailureDetector
from adversaria.modalities.points import Points
from adversaria.reporting.doctor import History, read_history
from adversaria.reporting.doctor.page import page
from adversaria.runs.folder import Run

DETECTORS = "callbacks.health.detectors"
#: thresholds that every reading is beyond
FINDS = {
    "discriminator_won": ("d_signal=1000", "patience=1"),
    "discriminator_overfits": ("separation=1e-9", "overfitting=0", "patience=1"),
    "generator_collapse": ("spread=1000", "patience=1", "after=0"),
}
SHORT = (
    "model=mlp",
    "data=ring8",
    "data.count=200",
    "data.batch_size=16",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "trainer.max_steps=8",
    "trainer.log_every_n_steps=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "callbacks.health.every_n_steps=2",
    "callbacks.health.samples=16",
    "~callbacks.samples",
    "logger=csv",
    *(f"{DETECTORS}.{name}.{setting}" for name, settings in FINDS.items() for setting in settings),
)
PAIRED = ("model._target_=training.paired.Paired", "trust=[training]")
Train = Callable[..., Run]


def found(run: Run) -> set[str]:
    return {finding["detector"] for finding in (run.read_result() or {})["findings"]}


def examined(run: Run) -> History:
    """What the doctor says, which is what was found while the run trained."""
    history = read_history(run.path)
    assert [finding.to_dict() for finding in history.now.findings] == (run.read_result() or {})["findings"]
    return history


def test_every_detector_is_heard_unless_somebody_says_so(train_run: Train) -> None:
    run = train_run("plain", *SHORT)
    assert {"discriminator_won", "generator_collapse"} <= found(run)
    assert len(examined(run).now.examination.detectors) == 8
    assert not run.detectors.exists()


def test_a_system_leaves_out_single_detectors_of_a_network_that_it_has(train_run: Train) -> None:
    run = train_run("paired", *SHORT, *PAIRED)
    assert found(run).isdisjoint({"discriminator_won", "generator_collapse"})
    history = examined(run)
    assert "discriminator_overfits" in history.now.examination.detectors
    assert set(history.unsuited) == {"discriminator_won", "generator_collapse"}
    assert f"Left out: {', '.join(history.unsuited)}." in page(history).replace("\n", " ")


def test_a_modality_leaves_out_what_is_no_failure_of_its_samples(
    train_run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suits(self: Points, detector: FailureDetector) -> bool:
        return "diversity/spread" not in detector.needs

    monkeypatch.setattr(Points, "suits", suits)
    run = train_run("alike", *SHORT)
    assert "discriminator_won" in found(run)
    assert "generator_collapse" not in found(run)
    monkeypatch.undo()  # the doctor asks the folder, not the modality
    assert examined(run).unsuited == ["generator_collapse"]
    (run.path / "detectors.json").unlink()
    assert "generator_collapse" in read_history(run.path).now.examination.detectors


@pytest.mark.parametrize("content", ['{"unsuited": 3}', '{"unsuited": [1]}', "[]", "{}"])
def test_a_damaged_list_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "detectors.json").write_text(content)
    with pytest.raises(UserError, match=r"detectors\.json is damaged: .* remove it"):
        Run(tmp_path).unsuited_detectors()


def test_names_that_the_config_does_not_have_change_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.note_unsuited_detectors(["gone"])
    assert json.loads(run.detectors.read_text()) == {"unsuited": ["gone"]}
    run.note_unsuited_detectors([])
    assert run.unsuited_detectors() == []


def test_data_that_are_one_point_have_readings_too(train_run: Train) -> None:
    """There is no diversity to compare with, which is in every reading of other data."""
    steps = [line for line in SHORT if line.startswith(("trainer.", "callbacks.health.every"))]
    run = train_run(
        "dirac", *STUDIES, "experiment=dirac_unregularised", "callbacks=health", "~callbacks.ema", "logger=csv", *steps
    )
    assert len(examined(run).now.readings) == 4
