"""Samples and scores of runs, as a user asks for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.cli import evaluate, sample
from adversaria.runs.folder import Run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, make_config: Any, tiny: tuple[str, ...]) -> dict[str, Run]:
    """A conditional GAN, a VAE and a GAN of points, each trained for three updates."""
    from adversaria.training.experiment import build_experiment, train

    folder = tmp_path_factory.mktemp("runs")
    points = ("data=ring8", "data.count=1000", "metrics.count=100", "model.generator.width=8")
    unscored = ("metrics=none", "~metrics.reconstruction")
    made = {}
    for name, overrides in (
        ("cgan", ("model=cgan", *tiny)),
        ("vae", ("model=vae", "model.generator.width=8", "model.encoder.width=8", "data.batch_size=8", *unscored)),
        ("points", ("model=mlp", *points)),
    ):
        config = make_config(*overrides, "trainer.max_steps=3", "trainer.accelerator=cpu")
        made[name] = Run(folder / name)
        with made[name].started(config, []):
            made[name].write_result(train(build_experiment(config), made[name]))
    return made


def test_grid_png_and_npz_hold_the_same_samples(command: Command, runs: dict[str, Run], in_tmp: Path) -> None:
    common = (f"checkpoint={runs['cgan'].path}", "count=6", "seed=1", "labels=[3,5]")
    for form, out in (("grid", "grid.png"), ("png", "single"), ("npz", "all.npz")):
        code, printed, err = command(sample, *common, f"format={form}", f"out={out}")
        assert code == 0, err
        assert out in printed
    arrays = np.load(in_tmp / "all.npz")
    assert arrays["images"].shape == (6, 16, 16, 1)
    assert arrays["images"].dtype == np.uint8
    assert arrays["labels"].tolist() == [3, 5, 3, 5, 3, 5]
    singles = sorted((in_tmp / "single").iterdir())
    assert [file.name for file in singles][:2] == ["00000_class3.png", "00001_class5.png"]
    for file, image in zip(singles, arrays["images"], strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), image[..., 0])
    grid = np.asarray(Image.open(in_tmp / "grid.png"))
    below = grid.shape[0] - 3 * 66 - 2  # the names of the classes stand above the two columns
    assert below > 0
    assert np.array_equal(
        grid[below + 2 : below + 66 : 4, 2:66:4, 0], arrays["images"][0, ..., 0]
    )  # enlarged four times


def test_default_place_is_the_run(command: Command, runs: dict[str, Run]) -> None:
    code, printed, _ = command(sample, f"checkpoint={runs['vae'].path}", "count=4", "interpolate=8")
    assert code == 0
    first, *_, samples, last = printed.splitlines()
    assert first == last == f"run        {runs['vae'].path}"
    file = Path(samples.split()[-1])
    assert file.parent == runs["vae"].path / "generated"
    assert Image.open(file).size == (8 * 66 + 2, 4 * 66 + 2)  # four paths of eight samples


def test_points_are_a_picture_or_numbers(command: Command, runs: dict[str, Run], in_tmp: Path) -> None:
    assert command(sample, f"checkpoint={runs['points'].path}", "out=p.png")[0] == 0
    assert command(sample, f"checkpoint={runs['points'].path}", "out=p.npz", "format=npz", "count=10")[0] == 0
    assert np.load(in_tmp / "p.npz")["points"].shape == (10, 2)
    code, _, err = command(sample, f"checkpoint={runs['points'].path}", "format=png")
    assert code == 2
    assert "format=png is none that this model's points are written in" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "checkpoint is not given"),
        (["checkpoint=nowhere"], "nowhere"),
        (["checkpoint={vae}", "labels=3"], "labels=3"),
        (["checkpoint={cgan}", "labels=12"], "classes 0 to 9"),
        (["checkpoint={cgan}", "labels=three"], "labels=three"),
        (["checkpoint={cgan}", "count=0"], "count=0"),
        (["checkpoint={cgan}", "format=jpeg"], "choices are grid, png, npz"),
        (["checkpoint={cgan}", "interpolate=1"], "interpolate=1"),
        (["checkpoint={cgan}", "truncation=0"], "truncation=0"),
        (["checkpoint={cgan}", "cuont=3"], "did you mean count"),
    ],
    ids=str,
)
def test_bad_requests_get_a_sentence(
    command: Command, runs: dict[str, Run], in_tmp: Path, arguments: list[str], message: str
) -> None:
    filled = [argument.format(**{name: run.path for name, run in runs.items()}) for argument in arguments]
    code, _, err = command(sample, *filled)
    assert code != 0
    assert message in err
    assert err.count("\n") == 1
    assert list(in_tmp.iterdir()) == []


def test_evaluation_uses_the_stored_choices_and_says_how(command: Command, runs: dict[str, Run], in_tmp: Path) -> None:
    code, printed, err = command(evaluate, f"checkpoint={runs['points'].path}", "out=e.json")
    assert code == 0, err
    report = {record["subject"]: record for record in json.loads((in_tmp / "e.json").read_text())["records"]}
    trained = runs["points"].read_result() or {}
    last = report["last"]
    assert last["metrics"] == trained["metrics"]  # the same weights, seed and count give the same score
    assert last["generator_updates"] == trained["generator_updates"]
    assert report["best"]["generator_updates"] == trained["best"]["step"]
    assert last["fingerprint"] == trained["fingerprint"]
    assert last["fingerprint_id"] == trained["fingerprint_id"]
    for name in last["metrics"]:
        assert name in printed


def test_evaluation_refuses_other_shapes(command: Command, runs: dict[str, Run]) -> None:
    code, _, err = command(evaluate, f"checkpoint={runs['points'].path}", "data=digits", "metrics=modes")
    assert code == 2
    assert "shape" in err


def test_evaluation_of_a_run_without_metrics(command: Command, runs: dict[str, Run]) -> None:
    code, _, err = command(evaluate, f"checkpoint={runs['vae'].path}")
    assert code == 2
    assert "metrics=none" in err


def test_standing_statistics_change_samples_and_the_fingerprint(
    command: Command, runs: dict[str, Run], in_tmp: Path
) -> None:
    drawn, made = {}, {}
    for name, standing in (
        ("running", ()),
        ("one", ("standing=1",)),
        ("again", ("standing=1",)),
        ("two", ("standing=2",)),
    ):
        common = (f"checkpoint={runs['cgan'].path}", *standing)
        assert command(sample, *common, "count=4", "format=npz", f"out={name}.npz")[0] == 0
        drawn[name] = np.load(in_tmp / f"{name}.npz")["images"]
        scoring = ("metrics=classifier", "metrics.count=64", f"out={name}.json")
        code, _, err = command(evaluate, *common, *scoring)
        assert code == 0, err
        made[name] = json.loads((in_tmp / f"{name}.json").read_text())["records"][0]["fingerprint"]["batch_norm"]
    assert np.array_equal(drawn["one"], drawn["again"])
    assert not np.array_equal(drawn["one"], drawn["running"])
    assert not np.array_equal(drawn["one"], drawn["two"])
    assert made["running"] == "running statistics"
    assert made["one"] == made["again"] == "standing statistics of 1 batches of 64, seed 0"
    assert made["two"] != made["one"]


def test_standing_statistics_need_batch_norm(command: Command, runs: dict[str, Run], in_tmp: Path) -> None:
    for module in (sample, evaluate):
        code, _, err = command(module, f"checkpoint={runs['points'].path}", "standing=4")
        assert code == 2
        assert "standing=4 is about BatchNorm, which this generator has not" in err
        code, _, err = command(module, f"checkpoint={runs['cgan'].path}", "standing=0")
        assert "standing=0 is not a whole number from 1" in err
