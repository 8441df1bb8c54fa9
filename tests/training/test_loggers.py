"""metrics.csv and TensorBoard over interruptions."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training import experiment
from adversaria.training.loggers import CSV, TensorBoard
from adversaria.training.run_logger import RunLogger


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def test_values_of_a_step_share_a_row_and_new_columns_join(tmp_path: Path) -> None:
    log = CSV(run_dir=str(tmp_path))
    log.log_metrics({"loss": 0.5}, step=10)
    log.log_metrics({"loss": 0.25}, step=20)
    log.log_metrics({"score": 7.0}, step=20)
    log.finalize("success")
    assert rows(tmp_path) == [
        {"step": "10", "loss": "0.5", "score": ""},
        {"step": "20", "loss": "0.25", "score": "7"},
    ]


def test_resume_drops_what_lies_beyond_the_checkpoint_and_keeps_the_rest(tmp_path: Path) -> None:
    log = CSV(run_dir=str(tmp_path))
    for step in (10, 20, 30):
        log.log_metrics({"loss": float(step)}, step=step)
    log.save()
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("40,4")  # a kill in the middle of a row
    again = CSV(run_dir=str(tmp_path), resume_step=20)
    again.log_metrics({"loss": 31.0}, step=30)
    again.finalize("success")
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("10", "10"), ("20", "20"), ("30", "31")]


def test_values_that_are_not_finite_are_written_as_such(tmp_path: Path) -> None:
    log = CSV(run_dir=str(tmp_path))
    log.log_metrics({"loss": float("nan"), "norm": float("inf")}, step=1)
    log.finalize("failed")
    assert rows(tmp_path) == [{"step": "1", "loss": "nan", "norm": "inf"}]


def test_a_damaged_file_goes_on_with_its_whole_rows_and_is_kept(tmp_path: Path) -> None:
    damaged = b"step,loss\n10,1\n20,\xff\xfe\n30,3\n"
    (tmp_path / "metrics.csv").write_bytes(damaged)
    log = CSV(run_dir=str(tmp_path), resume_step=30)
    log.log_metrics({"loss": 4.0}, step=40)
    log.finalize("success")
    assert [row["step"] for row in rows(tmp_path)] == ["10", "30", "40"]
    assert (tmp_path / "metrics.damaged.csv").read_bytes() == damaged


def test_rows_are_not_written_through_a_link(tmp_path: Path) -> None:
    log = CSV(run_dir=str(tmp_path))
    log.log_metrics({"loss": 1.0}, step=1)
    log.save()
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").symlink_to(tmp_path / "outside")
    log.log_metrics({"loss": 1.0}, step=2)
    with pytest.raises(UserError, match="link"):
        log.save()
    assert (tmp_path / "outside").read_text() == "precious"


@pytest.mark.parametrize(("resume", "steps"), [(0, [0, 10, 20]), (10, [0, 10, 20])])
def test_tensorboard_shows_each_step_once(tmp_path: Path, resume: int, steps: list[int]) -> None:
    """After a kill with no checkpoint yet, and with one."""
    for start in (0, resume):
        log = TensorBoard(run_dir=str(tmp_path), resume_step=start)
        for step in (0, 10, 20):
            if step > start or not start:
                log.log_metrics({"loss": float(step)}, step=step)
                log.log_picture("samples", torch.zeros(3, 4, 4, dtype=torch.uint8), step)
        log.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == steps
    assert [event.step for event in events.Images("samples")] == steps
    assert (events.Images("samples")[0].width, events.Images("samples")[0].height) == (4, 4)


def test_tensorboard_writes_into_no_linked_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="link"):
        TensorBoard(run_dir=str(tmp_path)).log_metrics({"loss": 1.0}, step=1)
    assert list((tmp_path / "elsewhere").iterdir()) == []


class WordsOnly(RunLogger):
    """A user's own, which takes no pictures."""

    name, version = "words", ""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, str] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...

    def log_text(self, tag: str, text: str, step: int) -> None:
        self.words[tag] = text


class Foreign(Logger):
    """Has a method of the same name and other arguments, as W&B's."""

    name, version = "foreign", ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...

    def log_text(self, key: str, columns: list[str], data: list[list[str]]) -> None:
        raise AssertionError("it was given words")


def test_words_and_pictures_go_to_loggers_of_ours_alone(
    tmp_path: Path, make_config: Callable[..., Any], tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, foreign = WordsOnly(), Foreign()
    overrides = ("model=mlp", "data=ring8", *tiny, "metrics=modes", "metrics.count=50", "trainer.max_steps=1")
    made = experiment.build_experiment(make_config(*overrides))
    make_trainer = experiment.make_trainer

    def with_loggers(*given: Any) -> Trainer:
        trainer = make_trainer(*given)
        trainer.loggers = [own, foreign]
        return trainer

    monkeypatch.setattr(experiment, "make_trainer", with_loggers)
    experiment.train(made, Run(tmp_path))
    assert list(own.words) == ["score/fingerprint"]
    assert (tmp_path / "samples" / "000001.png").is_file()
