"""What ``invert.py`` writes, which classes it takes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import adversaria
from adversaria.cli import invert, sample
from adversaria.sampling.latents import Latents, read_latents

STORED = Path(__file__).parents[1] / "stored"
QUICK = ("starts=16", "keep=2", "steps=3", "out=made")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def images(in_tmp: Path) -> Path:
    """Six pictures of other sizes than the models', in folders of two classes."""
    for k in range(6):
        file = in_tmp / "images" / str(3 + k % 2) / f"{k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(k).integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(values).save(file)
    return in_tmp / "images"


def test_what_is_written_makes_samples(command: Command, images: Path, in_tmp: Path) -> None:
    checkpoint = f"checkpoint={STORED / 'dcgan'}"
    more = ("features=0.1", "interpolate=3", "directions=[labels,sefa]", "sefa_count=2", "columns=3")
    code, printed, err = command(invert, checkpoint, "images=images", *QUICK, *more)
    assert code == 0, err
    names = {path.name for path in (in_tmp / "made").iterdir()}
    pictures = {f"direction_{name}.png" for name in ("labels_1_4", "sefa_0", "sefa_1")} | {"found.png", "paths.png"}
    assert names == {"latents.npz", "inversion.json", "directions.npz", *pictures}
    assert all(str(Path("made") / name) in printed for name in names)
    record = json.loads((in_tmp / "made" / "inversion.json").read_text())
    assert record["space"] == "z"
    assert len(record["errors"]) == 6
    assert np.load(in_tmp / "made" / "directions.npz")["sefa_0"].shape == (16,)
    code, _, err = command(sample, checkpoint, "latents=made/latents.npz", "format=npz", "out=again.npz")
    assert code == 0, err
    again = torch.from_numpy(np.load(in_tmp / "again.npz")["images"]).permute(0, 3, 1, 2)
    sampler = adversaria.load(STORED / "dcgan")
    given = read_latents(in_tmp / "made" / "latents.npz")
    assert torch.equal(again, sampler.spec.modality.encode(sampler.sample(6, given=given)))


def test_a_second_call_takes_the_place_of_the_first_and_other_files_are_left(
    command: Command, images: Path, in_tmp: Path
) -> None:
    arguments = (f"checkpoint={STORED / 'dcgan'}", "images=images", *QUICK)
    assert command(invert, *arguments, "directions=[sefa]")[0] == 0
    assert command(invert, *arguments)[0] == 0
    assert {path.name for path in (in_tmp / "made").iterdir()} == {"latents.npz", "inversion.json", "found.png"}
    (in_tmp / "made" / "mine.txt").write_text("x")
    code, _, err = command(invert, *arguments)
    assert code == 2
    assert "holds other files (mine.txt)" in err
    assert sorted(path.name for path in in_tmp.iterdir()) == ["images", "made"]


def test_nothing_half_written_is_left(
    command: Command, images: Path, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Latents, "save", cut_short)
    code, _, err = command(invert, f"checkpoint={STORED / 'dcgan'}", "images=images", *QUICK)
    assert code == 130
    assert "Traceback" not in err
    assert [path.name for path in in_tmp.iterdir()] == ["images"]


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [((), [3, 3, 3, 4, 4, 4]), (("labels=[1,2]",), [1, 2, 1, 2, 1, 2])],
    ids=["folders", "given"],
)
def test_classes_are_those_of_folders_unless_some_are_given(
    command: Command, images: Path, in_tmp: Path, arguments: tuple[str, ...], labels: list[int]
) -> None:
    code, _, err = command(invert, f"checkpoint={STORED / 'cgan'}", "images=images", *QUICK, *arguments)
    assert code == 0, err
    found = read_latents(in_tmp / "made" / "latents.npz").labels
    assert found is not None
    assert found.tolist() == labels
    code, _, err = command(sample, f"checkpoint={STORED / 'cgan'}", "latents=made/latents.npz", "format=png", "out=s")
    assert code == 0, err
    assert sorted(path.name[-5:-4] for path in (in_tmp / "s").iterdir()) == sorted(map(str, labels))


def test_folders_of_other_names_leave_the_classes_to_be_tried(command: Command, images: Path, in_tmp: Path) -> None:
    (images / "3").rename(images / "cats")
    code, printed, err = command(invert, f"checkpoint={STORED / 'cgan'}", "images=images", *QUICK)
    assert code == 0, err
    assert "each class is tried" in printed
    assert read_latents(in_tmp / "made" / "latents.npz").labels is not None


def test_arrays_of_another_size_are_fitted_as_files_are(command: Command, images: Path, in_tmp: Path) -> None:
    files = sorted(images.rglob("*.png"))
    np.savez(in_tmp / "same.npz", images=np.stack([np.asarray(Image.open(file)) for file in files]))
    for given, out in (("images", "a"), ("same.npz", "b")):
        arguments = (f"checkpoint={STORED / 'dcgan'}", f"images={given}", *QUICK[:-1], f"out={out}")
        code, _, err = command(invert, *arguments)
        assert code == 0, err
    one, other = (read_latents(in_tmp / out / "latents.npz") for out in "ab")
    assert torch.equal(one.values, other.values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images=none",), "images=none does not exist"),
        (("space=w",), "space=w is for style-based"),
        (("labels=3",), "unconditional"),
        (("keep=9", "starts=8"), "keep=9 is more than starts=8"),
        (("count=1", "interpolate=4"), "interpolate=4 leads from a picture to another"),
        (("count=2", "directions=[labels]"), "directions=labels needs pictures of two classes"),
        (("directions=[pca]",), "directions"),
        (("lr=0",), "lr=0"),
        (("prior=-1",), "prior=-1"),
        (("out=images",), "holds other files"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    command: Command, images: Path, in_tmp: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = command(invert, f"checkpoint={STORED / 'dcgan'}", "images=images", *QUICK, *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert [path.name for path in in_tmp.iterdir()] == ["images"]


def test_a_path_between_two_pictures_and_what_does_not_go_with_latents(command: Command, in_tmp: Path) -> None:
    Latents(torch.randn(4, 16), "z").save(in_tmp / "l.npz")
    checkpoint = f"checkpoint={STORED / 'dcgan'}"
    code, printed, err = command(sample, checkpoint, "latents=l.npz", "interpolate=3", "out=p.png")
    assert code == 0, err
    assert "6 samples" in printed
    for more, message in (("truncation=0.7", "are given"), ("traverse=x", "two pictures")):
        code, _, err = command(sample, checkpoint, "latents=l.npz", more)
        assert code == 2
        assert message in err
