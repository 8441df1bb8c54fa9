"""Filters by the conditions that define them, resampling by what it must leave alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from adversaria.objectives.augment.resampling import (
    MARGIN,
    SYM2,
    SYM6,
    downsampling,
    filtering,
    reflected,
    sample_bilinear,
    separable,
    upsampling,
)


@pytest.mark.parametrize(("taps", "moments"), [(SYM6, 6), (SYM2, 2)])
def test_filter_is_orthogonal_and_has_vanishing_moments(taps, moments):
    h = torch.tensor(taps, dtype=torch.float64)
    assert len(h) == 2 * moments
    assert h.sum().item() == pytest.approx(math.sqrt(2), abs=1e-10)
    for shift in range(moments):
        product = (h[2 * shift :] * h[: len(h) - 2 * shift]).sum().item()
        assert product == pytest.approx(1.0 if shift == 0 else 0.0, abs=1e-10)
    k = torch.arange(len(h), dtype=torch.float64)
    signs = 1 - 2 * (k % 2)
    for moment in range(moments):
        scale = (k**moment * h.abs()).sum().item()
        assert (signs * k**moment * h).sum().item() / scale == pytest.approx(0.0, abs=1e-8)


def test_reflected_index_is_that_of_reflection_padding():
    padded = F.pad(torch.arange(9.0)[None], (8, 8), mode="reflect")[0].long()
    assert torch.equal(reflected(torch.arange(-8, 17), 9), padded)
    assert torch.equal(reflected(torch.arange(-100, 100), 9), reflected(torch.arange(-100, 100) + 16 * 7, 9))


@pytest.mark.parametrize("length", [4, 7, 16, 33])
def test_up_and_down_is_the_identity(length):
    period = 4 * (length - 1)
    fine = torch.arange(-MARGIN, 2 * length + MARGIN) % period
    assert upsampling(length).shape == (period + 1, length)
    torch.testing.assert_close(downsampling(length) @ upsampling(length)[fine], torch.eye(length))


def test_upsampling_is_a_transposed_convolution_of_the_reflected_signal():
    x = torch.randn(10, dtype=torch.float64)
    padded = F.pad(x[None], (9, 9), mode="reflect")[0]
    kernel = torch.tensor(SYM6, dtype=torch.float64) * math.sqrt(2)
    fine = F.conv_transpose1d(padded[None, None], kernel[None, None], stride=2)[0, 0]
    start = 2 * 9 + MARGIN  # coarse pixel 0 lies at 9, and its taps begin MARGIN before its two fine pixels
    expected = fine[start : start + 20]
    torch.testing.assert_close(upsampling(10).double()[:20] @ x, expected, atol=1e-6, rtol=0)


def test_a_constant_image_stays_constant():
    for matrix in (upsampling(16), downsampling(16)):
        torch.testing.assert_close(matrix.sum(1), torch.ones(len(matrix)), atol=1e-6, rtol=0)


def test_filtering_is_a_convolution_with_reflection():
    x, taps = torch.randn(12), torch.tensor([1.0, -2.0, 5.0, -2.0, 1.0])
    expected = F.conv1d(F.pad(x[None, None], (2, 2), mode="reflect"), taps[None, None])[0, 0]
    torch.testing.assert_close(filtering(taps, 12) @ x, expected)


def test_separable_acts_on_rows_and_columns():
    rows, columns, x = torch.randn(3, 5), torch.randn(2, 7), torch.randn(2, 3, 5, 7)
    expected = torch.einsum("ih,nchw,jw->ncij", rows, x, columns)
    torch.testing.assert_close(separable(rows, x, columns), expected)


def test_bilinear_sampling_agrees_with_its_formula():
    image = torch.randn(2, 3, 6, 9)
    x, y = torch.rand(2, 4, 5) * 8, torch.rand(2, 4, 5) * 5
    out = sample_bilinear(image, x, y)
    for n, i, j in ((0, 0, 0), (1, 3, 4), (1, 2, 1)):
        weight_x = (1 - (torch.arange(9) - x[n, i, j]).abs()).clamp(min=0)
        weight_y = (1 - (torch.arange(6) - y[n, i, j]).abs()).clamp(min=0)
        expected = torch.einsum("chw,h,w->c", image[n], weight_y, weight_x)
        torch.testing.assert_close(out[n, :, i, j], expected, atol=1e-5, rtol=1e-5)


def test_bilinear_sampling_is_differentiable_twice():
    torch.manual_seed(0)
    image = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    x, y = torch.rand(2, 3, 3, dtype=torch.float64) * 4, torch.rand(2, 3, 3, dtype=torch.float64) * 3
    assert torch.autograd.gradcheck(lambda image: sample_bilinear(image, x, y), image)
    assert torch.autograd.gradgradcheck(lambda image: sample_bilinear(image, x, y).pow(3), image)
