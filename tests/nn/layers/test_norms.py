from __future__ import annotations

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.nn.layers import has_bias, mixes_samples, norm_layers
from adversaria.nn.layers.norms import NORMS

CHANNELS = 48
#: over which dimensions of [N, groups, C / groups, H, W] each norm takes its statistics, and how many groups it has
STATISTICS = {"instance": ((3, 4), CHANNELS), "layer": ((1, 2, 3, 4), 1), "group": ((2, 3, 4), 16)}


def maps():
    torch.manual_seed(0)
    return 3 + 2 * torch.randn(4, CHANNELS, 5, 6) * (0.5 + torch.rand(4, CHANNELS, 1, 1))


@pytest.mark.parametrize("name", STATISTICS)
def test_maps_have_mean_zero_and_variance_one_then_gain_and_bias(name):
    x = maps()
    [norm] = norm_layers("model.generator", name, CHANNELS)
    dims, groups = STATISTICS[name]
    h = norm(x).unflatten(1, (groups, -1))
    torch.testing.assert_close(h.mean(dims), torch.zeros_like(h.mean(dims)), atol=1e-5, rtol=0)
    torch.testing.assert_close(h.var(dims, correction=0), torch.ones_like(h.mean(dims)), atol=1e-3, rtol=0)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    expected = h.flatten(1, 2) * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


def test_batch_norm_takes_its_statistics_over_the_batch():
    [norm] = norm_layers("model.generator", "batch", CHANNELS)
    h = norm(maps())
    torch.testing.assert_close(h.mean((0, 2, 3)), torch.zeros(CHANNELS), atol=1e-5, rtol=0)
    assert h[0].mean().abs() > 0.01


def test_pixel_norm_gives_every_pixel_the_same_length():
    [norm] = norm_layers("model.generator", "pixel", CHANNELS)
    x = maps()
    h = norm(x)
    torch.testing.assert_close(h.square().mean(1), torch.ones(4, 5, 6), atol=1e-5, rtol=0)
    assert torch.nn.functional.cosine_similarity(h, x, dim=1).min() > 1 - 1e-5
    assert list(norm.parameters()) == []
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    assert not norm(torch.zeros(1, 3, 2, 2)).any()


@pytest.mark.parametrize("name", [name for name in NORMS if name not in ("batch", "none")])
def test_only_batch_norm_mixes_samples(name):
    [norm] = norm_layers("model.generator", name, CHANNELS)
    x = maps()
    torch.testing.assert_close(norm(x)[:1], norm(x[:1]))
    assert not mixes_samples(norm)
    assert mixes_samples(*norm_layers("model.generator", "batch", CHANNELS))


def test_a_convolution_needs_a_bias_where_the_norm_has_none():
    biased = {name: has_bias(norm_layers("model.generator", name, CHANNELS)) for name in NORMS}
    assert biased == {"batch": True, "instance": True, "layer": True, "group": True, "pixel": False, "none": False}
    assert norm_layers("model.generator", "none", CHANNELS) == []


@pytest.mark.parametrize("channels", [1, 3, 20, 64])
def test_groups_divide_any_number_of_channels(channels):
    [norm] = norm_layers("model.generator", "group", channels)
    assert norm(torch.randn(2, channels, 4, 4)).shape == (2, channels, 4, 4)
    assert norm.num_groups == {1: 1, 3: 1, 20: 4, 64: 32}[channels]


def test_unknown_norms_are_refused():
    with pytest.raises(UserError, match=r"model\.discriminator\.norm=bathc is unknown: choose one of batch, "):
        norm_layers("model.discriminator", "bathc", 8)
