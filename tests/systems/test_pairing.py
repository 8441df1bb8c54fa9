"""What each pairing makes of a picture, against closed forms and against libraries that people spoil pictures with."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image, Points
from adversaria.systems.pairing import (
    JPEG,
    Colourise,
    Deblur,
    Denoise,
    Edges,
    Inpaint,
    Pairing,
    SuperResolution,
)

RGB = DataSpec((3, 32, 32), 10, Image(), tuple("abcdefghij"))
ALL = [Denoise(), SuperResolution(), Inpaint(), Colourise(), Deblur(), JPEG(), Edges()]
each = pytest.mark.parametrize("pairing", ALL, ids=lambda pairing: type(pairing).__name__)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """uint8 ``[150, 203, 3]``: no side is a multiple of 8."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[100:250, 200:403])


def seen(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(127.5).sub(1)


def pixels_of(x: Tensor) -> np.ndarray:
    return x[0].permute(1, 2, 0).add(1).mul(127.5).numpy()


def decibels(x: np.ndarray, y: np.ndarray) -> float:
    return 10 * math.log10(255**2 / float(np.square(x.astype(float) - y).mean()))


@each
def test_conditions_are_what_the_spec_says_as_8_bits_hold_them(pairing: Pairing) -> None:
    spec = pairing.paired(RGB)
    assert (spec.num_classes, spec.class_names, spec.shape) == (None, None, RGB.shape)
    assert spec.condition is not None
    x = torch.rand(5, 3, 32, 32) * 2 - 1
    y = pairing(x)
    assert y.shape == (5, *spec.condition.shape)
    modality = spec.condition.modality
    torch.testing.assert_close(modality.decode(modality.encode(y)), y.float(), atol=0.004, rtol=0)
    with pytest.raises(UserError, match="brings its own"):
        pairing.paired(spec)
    with pytest.raises(UserError, match="is for images"):
        pairing.paired(DataSpec((2,), None, Points(value_range=(-2, 2))))


@each
def test_what_is_random_comes_from_the_generator_or_from_torchs_state(pairing: Pairing) -> None:
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    first, again = (pairing(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    other = pairing(x, torch.Generator().manual_seed(4))
    assert torch.equal(first, other) == (not isinstance(pairing, Denoise | Inpaint))
    state = torch.get_rng_state()
    pairing(x, torch.Generator().manual_seed(3))
    assert torch.equal(state, torch.get_rng_state())


def test_noise_has_its_deviation_where_nothing_is_clamped() -> None:
    noise = Denoise(sigma=20)(torch.zeros(64, 3, 32, 32))
    assert float(noise.mul(127.5).std()) == pytest.approx(20, rel=0.01)


def test_a_hole_is_a_square_anywhere_and_the_rest_is_known() -> None:
    x = torch.rand(2000, 3, 32, 32) * 2 - 1
    pairing = Inpaint(side=8)
    y = pairing(x, torch.Generator().manual_seed(0))
    spec = pairing.condition(RGB)
    known = spec.modality.known(y)
    assert known is not None
    assert set((~known).flatten(1).sum(1).tolist()) == {64}
    assert torch.equal(y[:, :3][known.expand(-1, 3, -1, -1)], x[known.expand(-1, 3, -1, -1)])
    assert not y[:, :3][~known.expand(-1, 3, -1, -1)].any()
    rows = (~known).any(3).flatten(1)
    assert sorted(set(rows.float().argmax(1).tolist())) == list(range(25))  # each place is drawn
    assert torch.equal(pairing.given(x, known), y)
    with pytest.raises(UserError, match="nothing to fill"):
        pairing.given(x, None)
    with pytest.raises(UserError, match="leaves nothing known"):
        Inpaint(side=32).paired(RGB)


def test_super_resolution_is_the_bicubic_pair_of_pillow(photograph: np.ndarray) -> None:
    even = photograph[:, :202]
    pairing = SuperResolution(factor=2)
    small = Pillow.fromarray(even).resize((101, 75), Pillow.Resampling.BICUBIC)
    off = np.abs(pixels_of(pairing.reduced(seen(even))) - np.asarray(small))
    assert off.max() <= 2.01  # Pillow rounds between the two directions
    assert off.mean() < 0.3
    y = pairing(seen(even))
    assert y.shape == (1, 3, 150, 202)
    assert torch.equal(pairing.given(pairing.reduced(seen(even))), y)
    assert pairing.enlarges == 2
    for factor in (3, 32):
        with pytest.raises(UserError, match="does not divide"):
            SuperResolution(factor=factor).paired(RGB)


def test_grey_is_that_of_pillow(photograph: np.ndarray) -> None:
    grey = np.asarray(Pillow.fromarray(photograph).convert("L"))
    assert np.abs(pixels_of(Colourise()(seen(photograph)))[..., 0] - grey).max() <= 1.01
    with pytest.raises(UserError, match=r"data.channels=3"):
        Colourise().paired(DataSpec((1, 32, 32), None, Image()))


def test_blur_is_that_of_scipy_on_edges_as_well(photograph: np.ndarray) -> None:
    ours = pixels_of(Deblur(sigma=1.5)(seen(photograph)))
    theirs = gaussian_filter(photograph.astype(float), (1.5, 1.5, 0))
    assert np.abs(ours - theirs).max() <= 0.51
    wide = Deblur(sigma=16)(torch.rand(1, 3, 8, 8))  # reflected several times
    assert float(wide.std()) < 0.05


@pytest.mark.parametrize(("quality", "least"), [(10, 39), (50, 41), (90, 44)])
def test_jpeg_is_what_pillows_encoder_leaves(photograph: np.ndarray, quality: int, least: float) -> None:
    file = io.BytesIO()
    Pillow.fromarray(photograph).save(file, "JPEG", quality=quality)
    theirs = np.asarray(Pillow.open(file))
    ours = pixels_of(JPEG(quality=quality)(seen(photograph)))
    assert decibels(ours, theirs) > least
    assert decibels(photograph, theirs) == pytest.approx(decibels(photograph, ours), abs=0.1)
    grey = photograph[..., :1]
    assert decibels(pixels_of(JPEG(quality=quality)(seen(grey))), grey) > decibels(photograph, theirs)


def test_edges_of_a_step_are_white_and_those_of_evenness_black() -> None:
    x = torch.full((1, 3, 16, 16), -1.0)
    assert torch.equal(Edges()(x), torch.full((1, 1, 16, 16), -1.0))
    x[..., 8:] = 1
    edges = Edges()(x)[0, 0]
    assert torch.equal(edges[:, 7:9], torch.ones(16, 2))
    assert torch.equal(edges[:, :6], -torch.ones(16, 6))
    assert torch.equal(Edges()(x.transpose(2, 3))[0, 0], edges.T)
