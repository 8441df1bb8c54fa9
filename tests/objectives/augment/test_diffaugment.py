from __future__ import annotations

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image, Points
from adversaria.objectives.augment import DiffAugment, Identity

IMAGES = DataSpec((3, 8, 8), None, Image())
POINTS = DataSpec((2,), None, Points())
ALL = ("color", "translation", "cutout")


def augment(*policy):
    return DiffAugment(spec=IMAGES, policy=policy)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ALL])
@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (4, 1, 9, 7), (1, 2, 16, 33)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_and_dtype_stay_for_grey_and_odd_sizes(policy, shape, dtype):
    out = augment(*policy)(torch.randn(shape, dtype=dtype))
    assert out.shape == shape
    assert out.dtype == dtype


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ALL])
def test_is_differentiable_twice(policy):
    module = augment(*policy)

    def f(x):
        torch.manual_seed(1)
        return module(x)

    x = torch.randn(2, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(lambda x: f(x).square().sum(), x)


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ALL])
def test_each_sample_is_changed_in_its_own_way(policy):
    x = torch.randn(1, 3, 16, 16).expand(32, -1, -1, -1)
    out = augment(*policy)(x)
    assert len(out.flatten(1).unique(dim=0)) > 16


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ALL])
def test_channels_last_gives_the_same_numbers(policy):
    x = torch.randn(4, 3, 8, 8)
    torch.manual_seed(1)
    expected = augment(*policy)(x)
    torch.manual_seed(1)
    torch.testing.assert_close(augment(*policy)(x.to(memory_format=torch.channels_last)), expected)


def test_translation_shifts_whole_pixels_and_zeros_move_in():
    height, width = 16, 24  # shifts up to 2 and 3
    x = torch.randn(200, 2, height, width)
    out = augment("translation")(x)
    shifts = set()
    for before, after in zip(x, out, strict=True):
        found = [
            (dy, dx)
            for dy in range(-4, 5)
            for dx in range(-4, 5)
            if torch.equal(after, torch.zeros_like(before).copy_(shift_with_zeros(before, dy, dx)))
        ]
        assert len(found) == 1
        shifts.update(found)
    assert {dy for dy, _ in shifts} == set(range(-2, 3))
    assert {dx for _, dx in shifts} == set(range(-3, 4))


def shift_with_zeros(image, dy, dx):
    out = torch.zeros_like(image)
    height, width = image.shape[1:]
    out[:, max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)] = image[
        :, max(dy, 0) : height - max(-dy, 0), max(dx, 0) : width - max(-dx, 0)
    ]
    return out


@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 9)])
def test_cutout_is_one_rectangle_around_any_centre(height, width):
    out = augment("cutout")(torch.ones(500, 3, height, width))
    assert torch.equal(out, out[:, :1].expand(-1, 3, -1, -1))
    zero = out[:, 0] == 0
    rows, columns = zero.any(2), zero.any(1)
    assert torch.equal(zero, rows[:, :, None] & columns[:, None, :])
    full_height, full_width = int(height / 2 + 0.5), int(width / 2 + 0.5)
    assert rows.sum(1).max() == full_height
    assert columns.sum(1).max() == full_width
    assert rows.sum(1).min() == full_height // 2  # a centre at the border leaves half of it
    for covered in (rows, columns):
        places = {tuple(place) for place in covered.int().tolist()}
        assert places == {place[::-1] for place in places}  # both borders alike
        assert len(places) == covered.shape[1] + 1 - covered.sum(1).max() % 2


def test_colour_moves_mean_saturation_and_contrast_within_their_ranges():
    x = torch.randn(4_000, 3, 6, 6)
    out = augment("color")(x)
    shift = (out - x).mean(dim=(1, 2, 3))  # saturation and contrast leave the mean of the image
    assert shift.min() >= -0.5 - 1e-5
    assert shift.max() <= 0.5 + 1e-5
    assert shift.abs().mean().item() == pytest.approx(0.25, rel=0.1)

    def grey_contrast(images):
        return images.mean(1).flatten(1).std(1)

    contrast = grey_contrast(out) / grey_contrast(x)  # saturation leaves the mean of the channels
    assert contrast.min() >= 0.5 - 1e-4
    assert contrast.max() <= 1.5 + 1e-4
    assert contrast.mean().item() == pytest.approx(1.0, rel=0.05)
    saturation = (out - out.mean(1, keepdim=True)).flatten(1).std(1) / contrast
    saturation = saturation / (x - x.mean(1, keepdim=True)).flatten(1).std(1)
    assert saturation.min() >= 0
    assert saturation.max() <= 2 + 1e-3
    assert saturation.mean().item() == pytest.approx(1.0, rel=0.05)


def test_the_global_seed_decides():
    x, module = torch.randn(4, 3, 8, 8), augment(*ALL)
    torch.manual_seed(3)
    first = module(x)
    torch.manual_seed(3)
    assert torch.equal(module(x), first)
    assert not torch.equal(module(x), first)


def test_the_order_of_the_policy_is_that_of_application():
    # Colours after a cutout change its zeros, before it they do not.
    x = torch.randn(16, 3, 8, 8)
    assert (augment("color", "cutout")(x) == 0).any()
    assert not (augment("cutout", "color")(x) == 0).any()


def test_unknown_transformation_names_the_near_one():
    with pytest.raises(UserError, match="did you mean translation"):
        augment("transltion")
    with pytest.raises(UserError, match="choose from color, translation, cutout"):
        augment("xyz")


def test_points_are_refused():
    with pytest.raises(UserError, match="augment=none"):
        DiffAugment(spec=POINTS)


def test_identity_changes_nothing():
    x = torch.randn(4, 2)
    assert Identity(spec=POINTS)(x) is x
