"""Scores of checkpoints and of images in any pairing: one code, so equal samples have equal scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adversaria.cli import evaluate, sample
from adversaria.data.images.named import Digits
from adversaria.runs.folder import Run

Command = Callable[..., tuple[int, str, str]]
SMALL = ("metrics=classifier", "metrics.count=192", "metrics.kid_subset_size=100", "metrics.kid_subsets=3")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, make_config: Any, tiny: tuple[str, ...]) -> dict[str, Run]:
    """An unconditional and a conditional GAN of digits, each trained for two updates."""
    from adversaria.training.experiment import build_experiment, train

    made = {}
    for model in ("dcgan", "cgan"):
        config = make_config(f"model={model}", *tiny, *SMALL, "trainer.max_steps=2", "trainer.accelerator=cpu")
        made[model] = Run(tmp_path_factory.mktemp("runs") / model)
        with made[model].started(config, []):
            made[model].write_result(train(build_experiment(config), made[model]))
    return made


def report_of(command: Command, *arguments: str) -> dict[str, dict[str, Any]]:
    """The records of one evaluation by subject."""
    Path("report.json").unlink(missing_ok=True)
    code, _, err = command(evaluate, *arguments, "out=report.json")
    assert code == 0, err
    records = json.loads(Path("report.json").read_text())["records"]
    return {record["subject"]: record for record in records}


@pytest.fixture(scope="session")
def real_digits(tmp_path_factory: pytest.TempPathFactory, make_config: Any) -> Path:
    """A folder with 60 real digits in class folders."""
    folder = tmp_path_factory.mktemp("reals") / "digits"
    data = Digits(**{k: v for k, v in make_config("data=digits")["data"].items() if k != "_target_"})
    data.prepare()
    split = data.split("train")
    assert split.labels is not None
    for k in range(60):
        (folder / str(split.labels[k])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.samples[k, :, :, 0]).save(folder / str(split.labels[k]) / f"{k}.png")
    return folder


@pytest.mark.parametrize("form", ["npz", "png"])
def test_images_score_as_the_checkpoint_that_made_them(
    command: Command, runs: dict[str, Run], in_tmp: Path, form: str
) -> None:
    run = runs["dcgan"]
    out = "samples.npz" if form == "npz" else "samples"
    assert command(sample, f"checkpoint={run.path}", "count=192", f"format={form}", f"out={out}")[0] == 0
    of_run = report_of(command, f"checkpoint={run.path}", "data=digits", *SMALL)
    of_images = report_of(command, f"images={out}", "data=digits", *SMALL)
    assert of_images["images"]["metrics"] == of_run["last"]["metrics"]
    assert (run.read_result() or {})["metrics"] == of_run["last"]["metrics"]
    # The fingerprints differ in what no image can tell.
    differing = {key for key in of_run["last"]["fingerprint"] if key not in of_images["images"]["fingerprint"]}
    assert differing == {"weights", "batch_norm", "evaluation_seed"}


def test_a_conditional_model_is_scored_by_class(command: Command, runs: dict[str, Run], in_tmp: Path) -> None:
    metrics = report_of(command, f"checkpoint={runs['cgan'].path}")["last"]["metrics"]
    assert {f"classifier_{name}192" for name in ("intra_fid", "class_accuracy", "class_kl")} <= set(metrics)
    assert 0 <= metrics["classifier_class_accuracy192"] <= 1
    unconditional = report_of(command, f"checkpoint={runs['dcgan'].path}")["last"]["metrics"]
    assert "classifier_class_accuracy192" not in unconditional
    assert "classifier_fid192_test" in unconditional


def test_reals_against_themselves_and_against_noise(command: Command, real_digits: Path, in_tmp: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), dtype=np.uint8)
    np.savez("noise.npz", images=noise)
    same, other = (
        report_of(
            command,
            f"images={path}",
            f"reference={real_digits}",
            "metrics=classifier",
            *("metrics.extractor.weights=digits",),
        )["images"]["metrics"]
        for path in (real_digits, "noise.npz")
    )
    assert same["classifier_fid60"] == pytest.approx(0, abs=1e-6)
    assert same["classifier_precision60"] == same["classifier_recall60"] == same["classifier_coverage60"] == 1
    assert other["classifier_fid60"] > 10
    assert other["classifier_coverage60"] < 0.5


def test_labels_count_where_the_classes_are_those_of_the_reals(
    command: Command, real_digits: Path, in_tmp: Path
) -> None:
    metrics = report_of(command, f"images={real_digits}", "data=digits")["images"]["metrics"]
    assert metrics["classifier_class_accuracy60"] == 1


def test_a_seed_of_its_own(command: Command, runs: dict[str, Run], in_tmp: Path) -> None:
    first, again, other = (report_of(command, f"checkpoint={runs['dcgan'].path}", f"seed={seed}") for seed in (0, 0, 1))
    assert first == again
    assert other["last"]["metrics"] != first["last"]["metrics"]
    assert other["last"]["fingerprint_id"] != first["last"]["fingerprint_id"]


def test_memorisation_and_usefulness_stand_beside_the_scores(
    command: Command, runs: dict[str, Run], in_tmp: Path
) -> None:
    last = report_of(
        command,
        f"checkpoint={runs['cgan'].path}",
        "memorisation=nearest",
        "memorisation.count=64",
        "usefulness=accuracy",
        "usefulness.images=1280",
        "usefulness.seeds=2",
        "usefulness.shares=[1]",
        "usefulness.count=128",
    )["last"]
    assert 0 <= last["memorisation"]["duplicates"] <= 1
    assert {"cas", "cas_std", "gain_100pct", "gain_100pct_std"} <= set(last["usefulness"])
    assert last["usefulness"]["fingerprint"]["labels"] == "model"
    assert len(list(in_tmp.glob("memorisation_last*.png"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either checkpoint="),
        (("checkpoint={run}", "images=x"), "either checkpoint="),
        (("images=x",), "reference="),
        (("images=x", "data=digits", "reference=y"), "two references"),
        (("images=empty", "data=digits"), "images=empty"),
        (("images=one", "data=digits"), "1 images"),
        (("images=mixed", "data=digits"), "differ in size"),
        (("images=nan.npz", "data=digits"), "NaN"),
        (("images=gone", "data=digits"), "images=gone"),
        (("checkpoint={run}", "reference=one"), "one"),
        (("checkpoint={run}", "reference=large.npz"), "[1, 16, 16] and those of reference-large [1, 32, 32]"),
        (("checkpoint={run}", "usefulness=accuracy", "reference=grey.npz", "metrics=inception"), "usefulness"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(
    command: Command, runs: dict[str, Run], in_tmp: Path, arguments: tuple[str, ...], message: str
) -> None:
    for name, sizes in (("empty", []), ("one", [16]), ("mixed", [16, 8])):
        (in_tmp / name).mkdir()
        for k, size in enumerate(sizes):
            Image.new("L", (size, size), k).save(in_tmp / name / f"{k}.png")
    np.savez("nan.npz", images=np.full((30, 16, 16, 1), np.nan))
    np.savez("large.npz", images=np.zeros((30, 32, 32, 1), np.uint8))
    np.savez("grey.npz", images=np.zeros((30, 16, 16, 1), np.uint8))
    before = set(in_tmp.iterdir())
    code, _, err = command(evaluate, *(a.format(run=runs["dcgan"].path) for a in arguments), "out=report.json")
    assert code != 0
    assert message in err
    assert err.count("error: ") == 1
    assert set(in_tmp.iterdir()) == before


def test_no_record_replaces_another(command: Command, runs: dict[str, Run], in_tmp: Path) -> None:
    for seed in (0, 1, 0):
        assert command(evaluate, f"checkpoint={runs['dcgan'].path}", f"seed={seed}", "out=all.json")[0] == 0
    records = json.loads(Path("all.json").read_text())["records"]
    assert len(records) == 4  # last and best of two seeds
    assert len({(record["subject"], record["fingerprint_id"]) for record in records}) == 4
    Path("notes.json").write_text('{"mine": 1}')
    code, _, err = command(evaluate, f"checkpoint={runs['dcgan'].path}", "out=notes.json")
    assert code == 2
    assert "holds something else than scores" in err
    assert Path("notes.json").read_text() == '{"mine": 1}'


def test_a_file_of_one_evaluation_is_still_read(in_tmp: Path) -> None:
    from adversaria.cli.records import add_records, read_records

    old = {
        "reference": "digits",
        "fingerprint_id": "ab",
        "fingerprint": {},
        "scores": {"last": {"metrics": {"x": 1.0}}},
    }
    Path("old.json").write_text(json.dumps(old))
    assert read_records(Path("old.json"))[0]["metrics"] == {"x": 1.0}
    add_records(Path("old.json"), [{"subject": "best", "fingerprint_id": "ab"}])
    assert [record["subject"] for record in read_records(Path("old.json"))] == ["last", "best"]


def test_a_score_without_a_value_says_why(
    command: Command, runs: dict[str, Run], real_digits: Path, in_tmp: Path
) -> None:
    code, printed, err = command(
        evaluate, f"checkpoint={runs['cgan'].path}", "data=digits", *SMALL, "metrics.count=16", "out=few.json"
    )
    assert code == 0, err
    missing = json.loads(Path("few.json").read_text())["records"][0]["missing"]
    assert "each class needs 2 of both" in missing["classifier_intra_fid16"]
    assert "no score   classifier_intra_fid16 of last: class" in printed


def test_what_a_checkpoint_says_of_data_and_metrics_stays_on_this_machine(
    command: Command, runs: dict[str, Run], in_tmp: Path
) -> None:
    import torch

    content = torch.load(runs["dcgan"].last, weights_only=True)
    config, elsewhere = content["config"], str(in_tmp / "elsewhere")

    def evaluated(**changes: Any) -> tuple[int, str, str]:
        changed = {name: {**config[name], **change} for name, change in changes.items() if name != "metrics"}
        if "metrics" in changes:
            changed["metrics"] = {"classifier": {**config["metrics"]["classifier"], **changes["metrics"]}}
        torch.save({**content, "config": {**config, **changed}}, in_tmp / "foreign.ckpt")
        return command(evaluate, "checkpoint=foreign.ckpt", "out=e.json")

    code, printed, err = evaluated(data={"cache_dir": elsewhere}, metrics={"cache_dir": elsewhere})
    assert code == 0, err
    assert "data       digits as the checkpoint says: adversaria.data.images.named.Digits" in printed
    assert not Path(elsewhere).exists()
    for group, change, message in (
        ("data", {"_target_": "adversaria.data.cache.record.forget", "rows": "e.json"}, "data._target_"),
        ("data", {"name": "../../evil"}, "data.name"),
        (
            "data",
            {"_target_": "adversaria.data.images.named.CIFAR10", "root": elsewhere, "download": True},
            "downloaded",
        ),
        (
            "metrics",
            {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": elsewhere},
            "metrics.classifier._target_",
        ),
        ("metrics", {"extractor": {"_target_": "adversaria.features.DINOv2Extractor", "weights": None}}, "downloaded"),
    ):
        code, _, err = evaluated(**{group: change})
        assert code == 2, (group, change)
        assert message in err
        assert not Path(elsewhere).exists()
