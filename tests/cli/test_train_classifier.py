from __future__ import annotations

import json
from pathlib import Path

import pytest

from adversaria.cli.train_classifier import main
from adversaria.core.arrays import content_hash, load_arrays
from adversaria.features.classifier import from_arrays

SMALL = ("data=digits", "data.limit=64", "data.batch_size=8", "images=1", "seed=3")


def test_writes_weights_and_how_they_were_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for file in files:
        assert main([*SMALL, f"out={file}"]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    arrays, about = load_arrays(files[0])
    assert from_arrays(arrays, about).num_classes == 10
    report = json.loads(files[0].with_suffix(".json").read_text())
    assert report["weights"] == content_hash(arrays)
    assert report["command"].endswith("train_classifier data=digits data.limit=64 data.batch_size=8 images=1 seed=3")
    assert (report["recipe"]["seed"], report["data"]["count"], report["epochs"]) == (3, 64, 5)
    assert 0 <= report["test_accuracy"] <= 1
    assert str(tmp_path) not in json.dumps(report)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data=digits"], "out is not given"),
        (["data=digits", "out=x.npz", "images=many"], "images=many"),
        (["data=digit", "out=x.npz"], "did you mean digits"),
        (["data=ring8", "out=x.npz"], "no labels"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str], words: str, in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not any(in_tmp.iterdir())
