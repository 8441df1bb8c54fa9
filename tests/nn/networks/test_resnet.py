from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.networks.resnet import LAYOUTS, ResNetDiscriminator, ResNetGenerator
from adversaria.nn.prior import Prior

SAGAN_G = {"conditional": True, "attention": True, "spectral_norm": True}
SAGAN_D = {"conditional": True, "attention": True}
#: by recipe: keywords of G and D, and the published sizes for 10 classes at 32x32x3
RECIPES = {
    "sngan": ({}, {}, 4_276_739, 1_053_825),
    "wgan_gp": ({"width": 128}, {"spectral_norm": False}, 1_204_483, 1_053_825),
    "projection": ({"conditional": True}, {"conditional": True}, 4_304_387, 1_055_105),
    "acgan": ({"conditional": True}, {"conditional": True, "classifier": True}, 4_304_387, 1_055_115),
    "sagan": (SAGAN_G, SAGAN_D, 4_386_308, 1_075_586),
}


def image(size, channels=3):
    return DataSpec((channels, size, size), 10, Image())


def count(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("recipe", RECIPES)
def test_sizes_of_the_published_networks(recipe):
    g, d, g_size, d_size = RECIPES[recipe]
    with torch.device("meta"):
        assert count(ResNetGenerator(spec=image(32), **g)) == g_size
        assert count(ResNetDiscriminator(spec=image(32), **d)) == d_size


@torch.no_grad()
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (48, 1), (64, 3), (128, 1)])
def test_sizes_of_the_images(size, channels):
    g = ResNetGenerator(spec=image(size, channels), width=16, **SAGAN_G)
    d = ResNetDiscriminator(spec=image(size, channels), width=16, **SAGAN_D)
    labels = torch.tensor([3, 9])
    x = g(Prior.of(g).draw(2), labels)
    out = d(x, labels)
    assert size in LAYOUTS
    assert x.shape == (2, channels, size, size)
    assert out.logits.shape == (2,)
    assert out.features.shape == (2, 16)


@pytest.mark.parametrize(("size", "in_g", "in_d"), [(32, 16, 8), (128, 32, 32)])
def test_attention_stands_where_the_reference_has_it(size, in_g, in_d):
    sides = []
    g = ResNetGenerator(spec=image(size), width=16, **SAGAN_G)
    d = ResNetDiscriminator(spec=image(size), width=16, **SAGAN_D)
    for network in (g, d):
        network.attention.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    labels = torch.tensor([3])
    with torch.no_grad():
        d.eval()(g.eval()(Prior.of(g).draw(1), labels), labels)
    assert sides == [in_g, in_d]


def test_the_label_moves_the_logit_by_its_projection():
    torch.manual_seed(0)
    d = ResNetDiscriminator(spec=image(16), width=8, conditional=True).eval()
    x, first, second = torch.randn(5, 3, 16, 16), torch.arange(5), torch.arange(5) + 5
    one, other = d(x, first), d(x, second)
    expected = torch.einsum("nc,nc->n", d.projection.weight[first] - d.projection.weight[second], one.features)
    torch.testing.assert_close(one.logits - other.logits, expected)
    torch.testing.assert_close(one.features, other.features)


def test_a_classifier_guesses_and_does_not_look_at_the_label():
    torch.manual_seed(0)
    d = ResNetDiscriminator(spec=image(16), width=8, conditional=True, classifier=True).eval()
    x = torch.randn(5, 3, 16, 16)
    out = d(x, torch.arange(5))
    assert d.num_class_logits == 10
    assert out.class_logits.shape == (5, 10)
    assert torch.equal(out.logits, d(x, torch.arange(5) + 5).logits)
    torch.testing.assert_close(out.class_logits, d.classifier(out.features))
    assert ResNetDiscriminator(spec=image(16), width=8, conditional=True).num_class_logits is None


def test_a_classifier_needs_labels():
    with pytest.raises(UserError, match=r"model\.discriminator\.classifier=true"):
        ResNetDiscriminator(spec=image(16), classifier=True)


def test_mean_pooling_divides_by_the_positions():
    features = []
    for pooling in ("sum", "mean"):
        torch.manual_seed(0)
        d = ResNetDiscriminator(spec=image(32), width=8, pooling=pooling).eval()
        features.append(d(torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)).features)
    torch.testing.assert_close(features[0], features[1] * 8 * 8)


def test_every_weight_under_spectral_norm_has_norm_one():
    torch.manual_seed(0)
    networks = ResNetGenerator(spec=image(16), width=8, **SAGAN_G), ResNetDiscriminator(spec=image(16), **SAGAN_D)
    for network in networks:
        norm_tables = {m for n, m in network.named_modules() if n.endswith((".gain", ".bias"))}
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
        for layer in (layer for layer in layers if layer not in norm_tables):
            for _ in range(50):
                weight = layer.weight
            assert torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2).item() == pytest.approx(1, rel=0.02)


def test_initial_weights():
    torch.manual_seed(0)
    g = ResNetGenerator(spec=image(32), width=64, conditional=True)
    d = ResNetDiscriminator(spec=image(32), width=64, spectral_norm=False, conditional=True)
    for network in (g, d):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in, fan_out = layer.weight[0].numel(), layer.weight.transpose(0, 1)[0].numel()
                gain = math.sqrt(2) if "conv" in name else 1
                bound = gain * math.sqrt(6 / (fan_in + fan_out))  # Glorot & Bengio 2010, equation 16
                assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.1), name
                assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2), name
                assert not layer.bias.any(), name
    assert g.blocks[0].norm1.gain.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not g.blocks[0].norm1.bias.weight.any()
