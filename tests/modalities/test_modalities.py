"""The package's modalities, and what a checkpoint may say of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.modality import Drawn, Modality, Shown
from adversaria.core.types import Batch, DataSpec
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split
from adversaria.features.extraction import images_of
from adversaria.health.probe import random_features
from adversaria.modalities import Image, Points
from adversaria.modalities.stored import spec_of

GREY = DataSpec((1, 4, 4), 2, Image(), ("a", "b"))
RING = DataSpec((2,), None, Points((-3.0, 2.0)))


@dataclass(frozen=True)
class Waves(Modality):
    """Sound stored as int16 ``[N, T]``, seen as ``[N, 1, T]`` in [-1, 1]; its image has a row for each half."""

    noun: ClassVar[str] = "waves"
    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    writers: ClassVar[dict[str, Any]] = {}

    def decode(self, stored: Tensor) -> Tensor:
        return stored.float().unsqueeze(1) / 2**15

    def encode(self, samples: Tensor) -> Tensor:
        return (samples.squeeze(1) * 2**15).round().clamp(-(2**15), 2**15 - 1).to(torch.int16)

    def activation(self) -> nn.Module:
        return nn.Tanh()

    def show(self, drawn: Drawn) -> Shown:
        return Shown(self.as_image(drawn.stored())[0].expand(3, -1, -1))

    def as_image(self, stored: Tensor) -> Tensor:
        return (stored.float() / 2**8 + 128).to(torch.uint8).unflatten(1, (1, 2, -1))


WAVES = DataSpec((1, 32), None, Waves())


class Sounds(DataModule):
    def __init__(self, spec: DataSpec, stored: np.ndarray[Any, Any]) -> None:
        super().__init__(name="sounds", batch_size=1, storage="memory", num_workers=0, seed=0)
        self.parts = (spec, stored)
        self.prepare()

    def load(self) -> Loaded:
        return Loaded(self.parts[0], {"train": Split(self.parts[1], None)}, {"train": {}})


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0), (-3.0, 5.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_value_of_an_image_comes_back(value_range: tuple[float, float], dtype: torch.dtype) -> None:
    image, stored = Image(value_range), torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    torch.set_default_dtype(dtype)
    try:
        seen = image.decode(stored)
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen.dtype == dtype
    assert (float(seen.min()), float(seen.max())) == pytest.approx(value_range)
    assert torch.equal(image.encode(seen), stored)
    assert torch.equal(image.encode(10 * seen - 4), image.encode((10 * seen - 4).clamp(*value_range)))


def test_points_stay_as_they_are() -> None:
    points = torch.randn(5, 2, dtype=torch.float64)
    assert Points().decode(points) is points
    assert torch.equal(Points().encode(points), points.float())


@pytest.mark.parametrize("reach", [1.0, 4.2, 12345.0])
def test_a_picture_of_points_cuts_neither_labels_nor_points(reach: float) -> None:
    corners = torch.tensor([[-reach, -reach], [reach, reach]]).repeat(8, 1)
    picture = Points((-reach, reach)).show(Drawn(len(corners), [corners])).picture
    ink = (picture < 255).any(0)  # [H, W]
    assert not ink[[0, -1]].any()
    assert not ink[:, [0, -1]].any()
    blue = (picture[2].int() - picture[0].int() > 40).nonzero()  # of the points alone
    left, right = blue[:, 1].min(), blue[:, 1].max()
    frame = (picture.amax(0) < 40).sum(0) > 300  # the axes' left and right line
    assert frame.nonzero().min() + 5 < left < right < frame.nonzero().max() - 5


@pytest.mark.parametrize("spec", [GREY, RING], ids=["image", "points"])
def test_a_spec_comes_back_from_plain_values(spec: DataSpec) -> None:
    plain = spec.to_dict()
    assert spec_of(plain) == spec
    assert type(plain["modality"]["value_range"]) is list


def test_specs_of_version_0_1_are_read() -> None:
    shared = {"num_classes": None, "value_range": [-3.0, 2.0]}
    assert spec_of({**shared, "shape": [2], "modality": "points"}) == RING
    assert spec_of({**shared, "shape": [3, 8, 8], "modality": "image"}).modality == Image((-3.0, 2.0))


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        ("audio", "is not a modality"),
        ({"_target_": "torch.nn.Identity"}, "is not a modality"),
        ({"_target_": "adversaria.modalities.files.picture_writer", "show": 3}, "is not a modality"),
        ({"value_range": [0, 1]}, "has no _target_"),
        ({"_target_": "adversaria.modalities.image.Image", "value_range": [1, 0]}, "is no range of values"),
        ({"_target_": "adversaria.modalities.image.Image", "value_range": [0, 1, 2]}, "is not a list"),
        ({"_target_": "adversaria.modalities.image.Image", "value_range": None}, "is not a list"),
        ([], "is no modality"),
    ],
)
def test_what_is_no_modality_is_refused(modality: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        spec_of({"shape": [1, 4, 4], "num_classes": None, "modality": modality})


def test_a_spec_wants_an_object_and_a_checkpoint_a_dataclass() -> None:
    with pytest.raises(UserError, match=r"modality='image' says nothing"):
        DataSpec((1, 4, 4), None, "image")

    class Own(Waves):
        pass

    with pytest.raises(UserError, match="Own is no dataclass"):
        Own().to_dict()


def test_features_are_taken_of_the_images_that_a_modality_gives() -> None:
    stored = torch.randint(-(2**15), 2**15, (7, 32), dtype=torch.int16)
    images = Waves().as_image(stored)
    assert WAVES.image_shape == (1, 2, 16)
    assert torch.equal(images_of(Waves().decode(stored), WAVES), images)
    batch: Batch = Sounds(WAVES, stored.numpy()).images("train").batch(slice(None))
    assert torch.equal(batch.samples, images)
    features = random_features(WAVES, seed=0)(Waves().decode(stored))
    assert features.shape == (7, 1024)
    of_images = random_features(DataSpec((1, 2, 16), None, Image()), seed=0)
    torch.testing.assert_close(features, of_images(Image().decode(images)))


def test_stored_images_are_taken_as_they_are_and_points_have_none() -> None:
    data = Sounds(GREY, np.zeros((3, 4, 4, 1), np.uint8))
    assert data.images("train") is data.split("train")
    points = Sounds(RING, np.zeros((3, 2), np.float32))
    assert points.spec.image_shape is None
    with pytest.raises(UserError, match="of which there are no images"):
        points.images("train")
    with pytest.raises(UserError, match="points are not"):
        images_of(torch.zeros(3, 2), RING)


def test_only_a_modality_and_its_own_data_ask_what_it_is() -> None:
    asks = re.compile(r"modality\s*(==|!=|\bin\b)|modality\.noun\s*(==|!=)|isinstance\([^)]*\b(Image|Points)\)")
    names = re.compile(r"import .*\b(Image|Points)\b")
    package = ROOT / "src" / "adversaria"
    at_home = ("modalities/", "data/images/", "data/synthetic/")
    for file in sorted(package.rglob("*.py")):
        path, text = file.relative_to(package).as_posix(), file.read_text("utf-8")
        assert not asks.search(text), path
        if not path.startswith(at_home):
            lines = [line for line in text.splitlines() if "modalities" in line and names.search(line)]
            assert not lines, path


def test_a_picture_of_samples_is_that_of_what_is_stored(tmp_path: Path) -> None:
    from adversaria.modalities.pictures import show

    samples = torch.linspace(-1, 1, 5 * 16).view(5, 1, 4, 4)
    stored = Image().encode(samples)
    direct = Image().show(Drawn(5, [stored[:2], stored[2:]], columns=5)).picture
    assert torch.equal(show(samples, GREY, 5).picture, direct)
    assert direct.shape == (3, 68, 5 * 66 + 2)
