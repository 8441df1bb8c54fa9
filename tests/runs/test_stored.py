"""Checkpoints and run folders of earlier versions stay good: ``stored/`` was written by version 0.1 and never changes.

``samples.npz`` is what ``sample.py checkpoint=<run> count=16 seed=5 format=npz`` gave then, ``continued.npz`` the same
after ``train.py run_dir=<run> trainer.max_steps=12``. Another processor may round a pixel otherwise.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

import adversaria
from adversaria.cli import train

STORED = Path(__file__).parents[1] / "stored"
RUNS = ("dcgan", "cgan", "sngan")


def drawn(run):
    sampler = adversaria.load(run)
    return sampler.spec.modality.encode(sampler.sample(16, seed=5)).permute(0, 2, 3, 1).numpy()


def assert_like(images, record):
    difference = np.abs(images.astype(int) - np.load(record)["images"])
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@pytest.mark.parametrize("name", RUNS)
def test_an_old_checkpoint_gives_the_samples_that_it_gave(name):
    assert_like(drawn(STORED / name / "checkpoints" / "last.ckpt"), STORED / name / "samples.npz")


@pytest.mark.parametrize("typed", [True, False], ids=["with its overrides", "from its config alone"])
@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_goes_on_as_it_would_have(name, typed, tmp_path, monkeypatch):
    shutil.copytree(STORED / name, tmp_path / "outputs" / name)
    if not typed:  # today's defaults are of another model
        (tmp_path / "outputs" / name / "overrides.txt").unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", f"run_dir=outputs/{name}", "trainer.max_steps=12"])
    assert train.main() == 0
    assert_like(drawn(tmp_path / "outputs" / name), STORED / name / "continued.npz")
