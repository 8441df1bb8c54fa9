"""A modality of a user's own goes all the way, from training to scores, and no file of the package knows of it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import adversaria
from adversaria.cli import evaluate, sample, train
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.training.callbacks.checkpoint import Checkpoint

TOY = Path(__file__).parent / "toy"
TRAIN = (
    "--config-dir=toy/conf",
    "data=melodies",
    "model=melodies",
    "trainer.accelerator=cpu",
    "trainer.max_steps=12",
    "trainer.log_every_n_steps=4",
    "callbacks.checkpoint.every_n_steps=5",
    "callbacks.evaluation.every_n_steps=6",
    "callbacks.evaluation.max_share=null",
    "callbacks.samples.count=9",
    "callbacks.samples.every_n_steps=6",
)


class Killed(BaseException):
    """Stands for the end of the process: nothing is written after it."""


Call = Callable[..., int]


@pytest.fixture
def call(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command in a temporary folder beside the user's package."""
    shutil.copytree(TOY, in_tmp / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(in_tmp)
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        monkeypatch.delitem(sys.modules, name)

    def run(module: ModuleType, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["x.py", *arguments])
        code: int = module.main()
        return code

    return run


def content(run: str) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(Run(Path(run)).last, weights_only=True)
    return checkpoint


def test_it_trains_resumes_samples_and_is_scored(
    call: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(train, *TRAIN, "run_dir=untrusted") == 2
    assert "trust=[toy]" in capsys.readouterr().err

    assert call(train, *TRAIN, "run_dir=whole", "trust=[toy]") == 0
    original = Checkpoint._end_of_step

    def dies(self: Checkpoint, trainer: Any, module: Any) -> None:
        if trainer.global_step == 8:
            raise Killed
        original(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "_end_of_step", dies)
        with pytest.raises(Killed):
            call(train, *TRAIN, "run_dir=cut", "trust=[toy]")
    assert content("cut")["global_step"] == 5
    assert call(train, *TRAIN, "run_dir=cut", "trust=[toy]") == 0
    whole, cut = content("whole"), content("cut")
    assert whole["global_step"] == 12
    assert all(torch.equal(tensor, cut["state_dict"][name]) for name, tensor in whole["state_dict"].items())
    assert whole["spec"]["modality"] == {"_target_": "toy.notes.Notes", "pitches": "cdefgab"}

    # It is drawn while it trains.
    pictures = Path("whole/samples")
    names = ["000006.png", "000006.txt", "000012.png", "000012.txt", "reals.png", "reals.txt"]
    assert sorted(file.name for file in pictures.iterdir()) == names
    assert Image.open(pictures / "000012.png").size == (4 * 9 * 6, 4 * 7)
    scale = 2 * "cdefgab"
    assert all(line in scale for line in (pictures / "reals.txt").read_text().split())
    board = EventAccumulator("whole/tensorboard", size_guidance={"images": 0}).Reload()
    assert {"samples", "reals"} <= set(board.Tags()["images"])

    # It is loaded, and written in its own formats.
    sampler = adversaria.load("whole", trust=["toy"])
    modality: Any = sampler.spec.modality
    melodies = modality.encode(sampler.sample(20))
    assert call(sample, "checkpoint=whole", "count=20", "trust=[toy]", "out=drawn.txt") == 0
    written = Path("drawn.txt").read_text().splitlines()
    assert written == [modality.names(melody) for melody in melodies]
    assert call(sample, "checkpoint=whole", "count=20", "trust=[toy]", "out=drawn.npz", "format=npz") == 0
    assert np.array_equal(np.load("drawn.npz")["notes"], melodies.numpy())
    capsys.readouterr()
    assert call(sample, "checkpoint=whole", "trust=[toy]", "format=png") == 2
    assert "melodies are written in; choices are txt, npz" in capsys.readouterr().err

    # It is scored.
    assert call(evaluate, "checkpoint=whole", "trust=[toy]", "out=scores.json") == 0
    scores = {record["subject"]: record["metrics"] for record in json.loads(Path("scores.json").read_text())["records"]}
    assert scores["last"] == (Run(Path("whole")).read_result() or {})["metrics"]


def test_a_checkpoint_names_only_trusted_modalities(call: Call) -> None:
    assert call(train, *TRAIN, "run_dir=run", "trust=[toy]", "trainer.max_steps=1") == 0
    with pytest.raises(
        UserError, match=r"spec\.modality\._target_=toy\.notes\.Notes is not a modality .* trust=\[toy\]"
    ):
        adversaria.load("run")
    checkpoint = content("run")
    for changes, message in (
        ({"_target_": "toy.notes.Melodies"}, "is not a modality"),
        ({"_target_": "adversaria.core.modality.Modality"}, "is not a modality"),
        ({"_target_": "os.system"}, "is not a modality"),
        ({"pitches": 3}, "is not text"),
        ({"pitches": "aa"}, "names one twice"),
        ({"octaves": 3}, "octaves is unknown"),
    ):
        spec = checkpoint["spec"] | {"modality": checkpoint["spec"]["modality"] | changes}
        torch.save(checkpoint | {"spec": spec}, "changed.ckpt")
        with pytest.raises(UserError, match=message):
            adversaria.load("changed.ckpt", trust=["toy"])
