"""Each transformation of ADA against an independent formula, and its share of samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.objectives.augment import ADA
from adversaria.objectives.augment.ada_corruption import filter_bank
from adversaria.objectives.augment.chance import Chance

NAMES = (
    "flip", "rotate90", "shift", "scale", "rotate", "stretch", "translate",
    "brightness", "contrast", "luma_flip", "hue", "saturation", "filter", "noise", "cutout",
)  # fmt: skip
COLOURS = ("brightness", "contrast", "luma_flip", "hue", "saturation")


def spec(channels: int = 3, height: int = 16, width: int = 16) -> DataSpec:
    return DataSpec((channels, height, width), None, Image())


def ada(*names: str, data: DataSpec | None = None, p: float = 1.0, **keywords) -> ADA:
    """Only the transformations ``names``, with the probability ``p``."""
    on = {name: float(name in names) for name in NAMES}
    return ADA(spec=data or spec(), p=p, **{**on, **keywords})


def images(count: int, channels: int = 3, height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(count, channels, height, width)


# What is drawn


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_changes_at_p_0(channels, dtype):
    x = images(8, channels).to(dtype)
    out = ada(*NAMES, data=spec(channels), p=0.0)(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out, x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_transformation_takes_its_share_of_the_samples(name):
    x = images(1).expand(4_000, -1, -1, -1)
    changed = ((ada(name, p=0.3)(x) - x).abs().flatten(1).amax(1) > 1e-4).float().mean().item()
    visible = {"flip": 1 / 2, "rotate90": 3 / 4, "shift": 24 / 25, "luma_flip": 1 / 2}.get(name, 1.0)
    if name == "filter":
        visible = (1 - 0.7**4) / 0.3  # four bands
    assert changed == pytest.approx(0.3 * visible, abs=0.03)


def test_multipliers_scale_the_probability():
    x = images(1).expand(4_000, -1, -1, -1)
    changed = ((ada(p=0.6, brightness=0.5)(x) - x).abs().flatten(1).amax(1) > 1e-4).float().mean().item()
    assert changed == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_the_global_seed_decides(name):
    x, module = images(16), ada(name)
    torch.manual_seed(3)
    first = module(x)
    torch.manual_seed(3)
    assert torch.equal(module(x), first)
    assert not torch.equal(module(x), first)


@pytest.mark.parametrize("name", NAMES)
def test_is_differentiable_twice(name):
    module = ada(name, data=spec(3, 6, 6))

    def f(x):
        torch.manual_seed(1)
        return module(x)

    x = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: f(x).pow(3).sum(), x, fast_mode=True)


@pytest.mark.parametrize("shape", [(3, 1, 16, 16), (2, 3, 20, 33), (2, 5, 17, 16)])
def test_shapes_and_odd_sizes(shape):
    x = torch.randn(shape)
    out = ada(*(name for name in NAMES if name != "rotate90"), data=spec(*shape[1:]))(x)
    assert out.shape == shape
    assert out.isfinite().all()


def test_computes_in_float32_under_autocast():
    x, module = images(4), ada(*NAMES)
    torch.manual_seed(1)
    expected = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        assert torch.equal(module(x), expected)


def test_works_without_data_on_the_meta_device():
    assert ada(*NAMES).to("meta")(torch.empty(4, 3, 16, 16, device="meta")).shape == (4, 3, 16, 16)


# Blitting and geometry


def test_flip_mirrors_half_of_the_samples():
    x = images(400)
    out = ada("flip")(x)
    mirrored = (out == x.flip(-1)).flatten(1).all(1)
    assert torch.equal(out[~mirrored], x[~mirrored])
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_rotate90_turns_by_any_number_of_quarters():
    x = images(400)
    out = ada("rotate90")(x)
    turns = torch.stack([(out == torch.rot90(x, k, (2, 3))).flatten(1).all(1) for k in range(4)])
    assert turns.any(0).all()
    torch.testing.assert_close(turns.float().mean(1), torch.full((4,), 0.25), atol=0.08, rtol=0)


def test_shift_moves_whole_pixels_and_reflections_move_in():
    height, width = 16, 24  # up to 2 and 3
    x = images(300, 2, height, width)
    out = ada("shift", data=spec(2, height, width))(x)
    padded = torch.nn.functional.pad(x, (5, 5, 5, 5), mode="reflect")
    shifts = {}
    for dy in range(-5, 6):
        for dx in range(-5, 6):
            candidate = padded[:, :, 5 - dy : 5 - dy + height, 5 - dx : 5 - dx + width]
            for n in ((candidate - out).abs().flatten(1).amax(1) < 1e-3).nonzero().flatten().tolist():
                shifts[n] = (dy, dx)
    assert set(shifts) == set(range(300))
    assert {dy for dy, _ in shifts.values()} == set(range(-2, 3))
    assert {dx for _, dx in shifts.values()} == set(range(-3, 4))


def waves(x: Tensor, y: Tensor) -> Tensor:
    """A smooth image as a function of place, from the centre, in pixels: what resampling should hardly change."""
    return torch.sin(0.35 * x + 0.2) * torch.cos(0.28 * y - 0.4) + 0.02 * x - 0.03 * y


@pytest.mark.parametrize("name", ["scale", "rotate", "stretch", "translate"])
def test_geometry_moves_a_smooth_image_as_its_matrix_says(name, monkeypatch):
    """One known draw per transformation; the expected image is the function at the places before the transformation."""
    size = 48
    monkeypatch.setattr(Chance, "log_normal", lambda self, std, *shape: torch.full((self.n,), 1.25))
    monkeypatch.setattr(Chance, "normal", lambda self, std, *shape: torch.tensor([[0.08, -0.05]]).repeat(self.n, 1))
    angles = iter([0.3, 0.4])  # before and after the stretch

    def uniform(self: Chance, low: float, high: float, *shape: int) -> Tensor:
        return torch.zeros(self.n, *shape) if shape else torch.full((self.n,), next(angles))

    monkeypatch.setattr(Chance, "uniform", uniform)
    place = torch.arange(float(size)) - (size - 1) / 2
    x, y = place.expand(size, size), place[:, None].expand(size, size)
    out = ada(name, data=spec(1, size, size))(waves(x, y).expand(1, 1, size, size))[0, 0]
    cosine, sine = math.cos(0.7), math.sin(0.7)
    before = {
        "scale": (x / 1.25, y / 1.25),
        "stretch": (x / 1.25, y * 1.25),
        "rotate": (cosine * x - sine * y, sine * x + cosine * y),
        "translate": (x - 0.08 * size, y + 0.05 * size),
    }[name]
    inside = (before[0].abs() < size / 2 - 4) & (before[1].abs() < size / 2 - 4)
    assert inside.float().mean() > 0.4
    assert (out - waves(*before))[inside].abs().max() < 0.01
    assert (waves(x, y) - waves(*before))[inside].abs().max() > 0.5


def test_a_constant_image_stays_constant_under_geometry():
    x = torch.full((64, 1, 16, 16), 0.7)
    out = ada("shift", "scale", "rotate", "stretch", "translate", data=spec(1))(x)
    torch.testing.assert_close(out, x, atol=1e-5, rtol=0)


def test_strengths_have_the_distributions_of_the_paper():
    geometry = ada("shift", "scale", "rotate", "stretch", "translate").stages[0]
    chance = Chance(torch.empty(20_000, 1), torch.tensor(1.0))
    linear, translation, shift = geometry._draw(chance)
    log_scale = -0.5 * torch.linalg.det(linear).log2()
    assert log_scale.mean().item() == pytest.approx(0.0, abs=0.01)
    assert log_scale.std().item() == pytest.approx(0.2, rel=0.03)
    singular = torch.linalg.svdvals(linear)
    log_stretch = 0.5 * (singular[:, 0] / singular[:, 1]).log2()  # the magnitude of a normal number
    assert log_stretch.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.03)
    assert (translation / 16).std().item() == pytest.approx(0.125, rel=0.03)
    assert shift.abs().max().item() == 2.0  # an eighth of 16


def test_a_rotation_before_or_after_happens_with_probability_p():
    geometry = ada("rotate").stages[0]
    linear, _, _ = geometry._draw(Chance(torch.empty(20_000, 1), torch.tensor(0.4)))
    rotated = ((linear - torch.eye(2)).abs().flatten(1).amax(1) > 1e-6).float().mean().item()
    assert rotated == pytest.approx(0.4, abs=0.02)


# Colour


def luma(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True)


def test_brightness_adds_one_number():
    x = images(4_000, height=4, width=4)
    difference = (ada("brightness", data=spec(3, 4, 4))(x) - x).flatten(1)
    assert (difference.amax(1) - difference.amin(1)).max() < 1e-5
    assert difference[:, 0].mean().item() == pytest.approx(0.0, abs=0.02)
    assert difference[:, 0].std().item() == pytest.approx(0.2, rel=0.05)


def test_contrast_multiplies_by_one_number():
    x = images(4_000, height=4, width=4)
    factor = (ada("contrast", data=spec(3, 4, 4))(x) * x).flatten(1).sum(1) / x.square().flatten(1).sum(1)
    torch.manual_seed(1)
    out = ada("contrast")(x[:, :, :4])
    ratio = out / x
    assert ((ratio.flatten(1).amax(1) - ratio.flatten(1).amin(1)) < 1e-3 * ratio.flatten(1).amax(1)).all()
    assert factor.log2().mean().item() == pytest.approx(0.0, abs=0.03)
    assert factor.log2().std().item() == pytest.approx(0.5, rel=0.05)


def test_luma_flip_negates_the_grey_part_alone():
    x = images(200)
    out = ada("luma_flip")(x)
    flipped = ((out - (x - 2 * luma(x))).abs().flatten(1).amax(1)) < 1e-5
    torch.testing.assert_close(out[~flipped], x[~flipped])
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.12)


def test_hue_turns_colours_around_grey():
    x = images(500)
    out = ada("hue")(x)
    torch.testing.assert_close(luma(out), luma(x), atol=1e-5, rtol=0)
    torch.testing.assert_close((out - luma(out)).norm(dim=1), (x - luma(x)).norm(dim=1), atol=1e-4, rtol=1e-4)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(2_000, 3, 16, 16)
    turned = ada("hue")(red)[:, :, 0, 0]
    angle = torch.atan2((turned[:, 1] - turned[:, 2]) * math.sqrt(3), 3 * turned[:, 0] - 1)  # on the colour circle
    histogram = torch.histc(angle, 8, -math.pi, math.pi) / 2_000
    torch.testing.assert_close(histogram, torch.full((8,), 1 / 8), atol=0.03, rtol=0)


def test_hue_of_a_third_of_the_circle_permutes_the_channels(monkeypatch):
    monkeypatch.setattr(Chance, "uniform", lambda self, low, high: torch.full((self.n,), 2 * math.pi / 3))
    x = images(4)
    torch.testing.assert_close(ada("hue")(x), x[:, [2, 0, 1]], atol=1e-5, rtol=1e-5)


def test_saturation_scales_the_distance_to_grey():
    x = images(4_000, height=4, width=4)
    out = ada("saturation", data=spec(3, 4, 4))(x)
    torch.testing.assert_close(luma(out), luma(x), atol=1e-5, rtol=0)
    factor = (out - luma(out)).flatten(1).norm(dim=1) / (x - luma(x)).flatten(1).norm(dim=1)
    torch.testing.assert_close(out, luma(x) + factor.view(-1, 1, 1, 1) * (x - luma(x)), atol=1e-4, rtol=1e-4)
    assert factor.log2().std().item() == pytest.approx(1.0, rel=0.05)


def test_no_saturation_is_grey(monkeypatch):
    monkeypatch.setattr(Chance, "log_normal", lambda self, std: torch.zeros(self.n))
    x = images(4)
    torch.testing.assert_close(ada("saturation")(x), luma(x).expand_as(x), atol=1e-5, rtol=0)


def test_colours_are_transformed_one_after_the_other(monkeypatch):
    factors = iter([2.0, 0.25])
    monkeypatch.setattr(Chance, "normal", lambda self, std: torch.full((self.n,), 0.3))
    monkeypatch.setattr(Chance, "log_normal", lambda self, std: torch.full((self.n,), next(factors)))
    monkeypatch.setattr(Chance, "integer", lambda self, count: torch.ones(self.n))
    monkeypatch.setattr(Chance, "uniform", lambda self, low, high: torch.full((self.n,), 2 * math.pi / 3))
    x = images(4)
    out = ada(*COLOURS)(x)
    y = 2.0 * (x + 0.3)
    y = y - 2 * luma(y)
    y = y[:, [2, 0, 1]]
    y = luma(y) + 0.25 * (y - luma(y))
    torch.testing.assert_close(out, y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_hue_needs_three_channels_and_saturation_two(channels):
    x = images(8, channels)
    torch.testing.assert_close(ada("hue", data=spec(channels))(x), x)
    changed = not torch.allclose(ada("saturation", data=spec(channels))(x), x, atol=1e-5)
    assert changed == (channels > 1)


def test_luma_flip_of_grey_images_is_the_negative():
    x = images(100, 1)
    out = ada("luma_flip", data=spec(1))(x)
    torch.testing.assert_close(out.abs(), x.abs())
    assert {round(v) for v in (out / x).flatten().tolist()} == {-1, 1}


# Filters and corruptions


def test_bands_split_the_spectrum_into_octaves():
    bands = torch.stack(filter_bank())
    impulse = torch.zeros(bands.shape[1], dtype=torch.float64)
    impulse[bands.shape[1] // 2] = 1
    torch.testing.assert_close(bands.sum(0), impulse, atol=1e-12, rtol=0)
    torch.testing.assert_close(bands.flip(1), bands, atol=1e-12, rtol=0)
    response = torch.fft.rfft(bands, 512).abs()  # [4, 257], the last at the highest frequency
    for band, frequency in enumerate((0, 48, 96, 256)):  # 48/256 = 3/16 and 96/256 = 3/8: the middles of their octaves
        assert response[:, frequency].argmax() == band


def test_filter_amplifies_each_band_by_its_gain(monkeypatch):
    gains = iter([1.0, 1.0, 1.0, 4.0])
    monkeypatch.setattr(Chance, "log_normal", lambda self, std: torch.full((self.n,), next(gains)))
    size = 64
    checks = torch.cos(math.pi * torch.arange(size)).expand(1, 1, size, size)  # the highest frequency, in x alone
    constant = torch.ones(1, 1, size, size)
    power = math.sqrt(12 / 13 + 16 / 13)  # 1/f: 10, 1, 1, 1
    out = ada("filter", data=spec(1, size, size))(checks + constant)
    expected = (4 / power) * (1 / power) * checks + (1 / power) ** 2 * constant
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)


def test_noise_has_its_standard_deviation():
    x = torch.zeros(4_000, 3, 16, 16)
    std = ada("noise")(x).flatten(1).std(1)
    assert std.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.05)
    assert std.mean().item() == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.05)


def test_cutout_is_a_rectangle_of_half_the_size_around_any_centre():
    zero = ada("cutout", data=spec(1))(torch.ones(2_000, 1, 16, 16))[:, 0] == 0
    rows, columns = zero.any(2), zero.any(1)
    assert torch.equal(zero, rows[:, :, None] & columns[:, None, :])
    for covered in (rows, columns):
        assert covered.sum(1).max() == 8
        assert covered.sum(1).min() >= 4
        assert covered.float().mean(0)[8].item() == pytest.approx(0.5, abs=0.05)
