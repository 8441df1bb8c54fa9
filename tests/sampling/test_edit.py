"""Edits of whole pictures: tiles without seams, folders as they were, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from torch import Tensor

import adversaria
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.sampling.folder import edit_folder
from adversaria.sampling.sampler import Sampler
from adversaria.sampling.tiles import tiled

SMALL = ("data=digits", "data.channels=3", "data.batch_size=8", "model.generator.width=4", "metrics=none")
SHORT = ("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_steps=1", "callbacks.samples.count=4")


@pytest.fixture(scope="module")
def samplers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sampler]:
    """By their pairing, models for pictures of 16 pixels that do next to nothing."""
    from conftest import config_of

    from adversaria.training.experiment import build_experiment, train

    made = {}
    for pairing in ("denoise", "super_resolution", "inpaint", "colourise"):
        config = config_of("model=regression", f"pairing={pairing}", *SMALL, *SHORT)
        run = Run(tmp_path_factory.mktemp("runs") / pairing)
        with run.started({k: v for k, v in config.items() if k != "trust"}, []):
            run.write_result(train(build_experiment(config), run))
        made[pairing] = adversaria.load(run.path, device="cpu")
    return made


def picture(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (channels, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of several sizes and modes, one that is damaged, and a text."""
    root = tmp_path / "holiday"
    (root / "beach").mkdir(parents=True)
    Image.fromarray(picture(23, 41).permute(1, 2, 0).numpy()).save(root / "b.png")
    Image.fromarray(picture(16, 16)[0].numpy()).save(root / "a.png")
    Image.fromarray(picture(5, 90).permute(1, 2, 0).numpy()).save(root / "beach" / "a.png")
    Image.fromarray(picture(30, 20).permute(1, 2, 0).numpy()).save(root / "b.jpg")
    (root / "damaged.png").write_bytes(b"no picture")
    (root / "notes.txt").write_text("x")
    return root


@pytest.mark.parametrize("size", [(16, 16), (7, 9), (16, 40), (37, 53), (64, 17)])
def test_tiles_of_what_changes_nothing_are_the_picture(size: tuple[int, int]) -> None:
    x = torch.rand(3, *size)
    torch.testing.assert_close(tiled(lambda tiles: 2 * tiles, x, (16, 12)), 2 * x)


def test_tiles_meet_without_a_step() -> None:
    """Of a network whose tiles differ by a constant each, neighbours in the result differ by little."""
    calls = iter(torch.linspace(-1, 1, 200))

    def network(tiles: Tensor) -> Tensor:
        return torch.stack([torch.full_like(tile, float(next(calls))) for tile in tiles])

    made = tiled(network, torch.zeros(1, 16, 160), (16, 16), batch_size=1)
    assert made.diff(dim=2).abs().max() < 2 / 8


def test_a_picture_of_the_trained_size_is_one_plain_call(samplers: dict[str, Sampler]) -> None:
    sampler = samplers["denoise"]
    x = picture(16, 16)
    y = sampler.spec.modality.decode(x[None])
    expected = sampler.spec.modality.encode(sampler.sample(1, given=y))[0]
    assert torch.equal(sampler.edit(x).made, expected)


@pytest.mark.parametrize("size", [(16, 16), (5, 9), (33, 50)])
def test_sizes_stay(samplers: dict[str, Sampler], size: tuple[int, int]) -> None:
    height, width = size
    edit = samplers["denoise"].edit(picture(*size), degrade=True, seed=3)
    assert edit.answer is not None
    assert edit.made.shape == edit.given.shape == edit.answer.shape == (3, *size)
    assert torch.equal(edit.given, samplers["denoise"].edit(picture(*size), degrade=True, seed=3).given)
    assert not torch.equal(edit.given, samplers["denoise"].edit(picture(*size), degrade=True, seed=4).given)
    assert samplers["super_resolution"].edit(picture(*size)).made.shape == (3, 2 * height, 2 * width)
    spoilt = samplers["super_resolution"].edit(picture(*size), degrade=True)
    assert spoilt.made.shape == (3, height // 2 * 2, width // 2 * 2)
    assert samplers["colourise"].edit(picture(*size)).made.shape == (3, *size)


def test_what_is_known_stays_to_the_bit(samplers: dict[str, Sampler]) -> None:
    x, known = picture(40, 30), torch.ones(1, 40, 30, dtype=torch.bool)
    known[:, 10:15, 10:15] = False
    made = samplers["inpaint"].edit(x, known).made
    assert torch.equal(made[known.expand(3, -1, -1)], x[known.expand(3, -1, -1)])
    with pytest.raises(UserError, match="nothing to fill"):
        samplers["inpaint"].edit(x)


def test_a_folder_keeps_names_folders_and_sizes(samplers: dict[str, Sampler], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert edit_folder(samplers["denoise"], folder, out) == 4
    sizes = {path.relative_to(out).as_posix(): opened(path).shape[1::-1] for path in out.rglob("*.png")}
    assert sizes.pop("edits.png")
    # two files called b are told apart by their endings
    assert sizes == {"a.png": (16, 16), "b.png.png": (41, 23), "b.jpg.png": (20, 30), "beach/a.png": (90, 5)}
    before = (out / "a.png").read_bytes()
    assert edit_folder(samplers["denoise"], folder, out) == 4  # in place of the earlier ones
    assert (out / "a.png").read_bytes() == before
    assert edit_folder(samplers["denoise"], folder / "a.png", tmp_path / "one") == 1
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"a.png", "edits.png", "edits.json"}


def test_holes_are_what_is_transparent(samplers: dict[str, Sampler], tmp_path: Path) -> None:
    alpha = np.full((20, 24), 255, np.uint8)
    alpha[4:9, 5:11] = 0
    pixels = picture(20, 24).permute(1, 2, 0).numpy()
    (tmp_path / "in").mkdir()
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "in" / "hole.png")
    edit_folder(samplers["inpaint"], tmp_path / "in", tmp_path / "out")
    made = opened(tmp_path / "out" / "hole.png")
    assert np.array_equal(made[alpha == 255], pixels[alpha == 255])
    assert not np.array_equal(made[alpha == 0], pixels[alpha == 0])


def test_nothing_foreign_is_touched(samplers: dict[str, Sampler], folder: Path, tmp_path: Path) -> None:
    sampler, out = samplers["denoise"], tmp_path / "out"
    edit_folder(sampler, folder, out)
    (out / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"holds other files \(mine\.txt\)"):
        edit_folder(sampler, folder, out)
    (out / "edits.json").write_text(json.dumps({"files": 3}))
    with pytest.raises(UserError, match="holds other files"):
        edit_folder(sampler, folder, out)
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(UserError, match="a file or a link"):
        edit_folder(sampler, folder, link)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        edit_folder(sampler, tmp_path / "empty", tmp_path / "new")
    for name in ("a.png", "b.png", "b.jpg", "beach/a.png"):
        (folder / name).unlink()
    with pytest.raises(UserError, match="can be read"):
        edit_folder(sampler, folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_model_that_draws_edits_nothing(samplers: dict[str, Sampler]) -> None:
    drawing = adversaria.load(ROOT / "tests" / "stored" / "dcgan", device="cpu")
    with pytest.raises(UserError, match="edits no pictures"):
        drawing.edit(picture(16, 16, 1))
    with pytest.raises(UserError, match=r"uint8 \[3, H, W\]"):
        samplers["denoise"].edit(picture(16, 16, 1))
    with pytest.raises(UserError, match="draws nothing by itself"):
        samplers["denoise"].sample(3)
