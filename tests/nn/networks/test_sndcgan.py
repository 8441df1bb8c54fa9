from __future__ import annotations

import pytest
import torch
from torch import nn

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers import mixes_samples
from adversaria.nn.networks.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from adversaria.nn.prior import Prior


def image(size, channels=3):
    return DataSpec((channels, size, size), None, Image())


def count(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_sizes_of_the_published_networks():
    with torch.device("meta"):
        assert count(SNDCGANGenerator(spec=image(32))) == 3_813_379
        assert count(SNDCGANDiscriminator(spec=image(32))) == 5_860_865


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 32, 48, 128])
def test_sizes_of_the_images(size, channels):
    with torch.device("meta"):
        g, d = SNDCGANGenerator(spec=image(size, channels)), SNDCGANDiscriminator(spec=image(size, channels))
        x = g(Prior.of(g).draw(2))
        out = d(x)
    assert x.shape == (2, channels, size, size)
    assert out.logits.shape == (2,)
    assert out.features.shape == (2, 512 * (size // 8) ** 2)


def test_every_weight_of_the_discriminator_has_spectral_norm_one():
    torch.manual_seed(0)
    d = SNDCGANDiscriminator(spec=image(16))
    layers = [m for m in d.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 8
    for layer in layers:
        for _ in range(10):
            weight = layer.weight
        assert torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2).item() == pytest.approx(1, rel=0.05)
    assert not mixes_samples(d)


def test_initial_weights():
    torch.manual_seed(0)
    for network in (SNDCGANGenerator(spec=image(16)), SNDCGANDiscriminator(spec=image(16))):
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.05), name
            elif name.endswith("bias"):
                assert not parameter.any(), name
