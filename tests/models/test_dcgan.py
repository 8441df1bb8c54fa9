from __future__ import annotations

import pytest
import torch

from adversaria.layers import mixes_samples
from adversaria.models.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.types import DataSpec


def image(size, channels=3):
    return DataSpec((channels, size, size), 10, (-1.0, 1.0), "image")


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_sizes_of_the_default_networks_at_32_px():
    with torch.device("meta"):
        g, d = DCGANGenerator(spec=image(32)), DCGANDiscriminator(spec=image(32))
    # Convolutions 100-256-128-64-3 of kernel 4, BatchNorm's gains and biases, the biases of the last layer.
    assert count(g) == 16 * (100 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (256 + 128 + 64) + 3
    assert count(d) == 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256) + 64 + 2 * (128 + 256) + 1
    assert round(count(g) / 1e6, 2) == 1.07
    assert round(count(d) / 1e6, 2) == 0.66


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_every_size(size, channels, conditional):
    with torch.device("meta"):
        g = DCGANGenerator(spec=image(size, channels), conditional=conditional)
        d = DCGANDiscriminator(spec=image(size, channels), conditional=conditional)
        labels = torch.zeros(2, dtype=torch.int64) if conditional else None
        x = g(g.sample_latent(2), labels)
        out = d(x, labels)
    assert x.shape == (2, channels, size, size)
    assert out.logits.shape == (2,)
    # At most 512 channels, and 64 where the map has half the side of the image.
    assert out.features.shape == (2, min(512, 64 * size // 8) * 16)


def test_the_first_layer_is_a_transposed_convolution_of_the_latent():
    torch.manual_seed(0)
    g = DCGANGenerator(spec=image(16), latent_dim=5, width=4)
    z = torch.randn(3, 5)
    weight = g.project.weight.T.unflatten(1, (8, 4, 4))  # [latent_dim, C, 4, 4]
    expected = torch.nn.functional.conv_transpose2d(z[:, :, None, None], weight)
    torch.testing.assert_close(g.project(z).unflatten(1, (8, 4, 4)), expected)


def test_batch_norm_is_optional_in_the_discriminator():
    assert mixes_samples(DCGANDiscriminator(spec=image(16), width=4))
    plain = DCGANDiscriminator(spec=image(16), width=4, batch_norm=False)
    assert not mixes_samples(plain)
    x = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(plain(x).logits[:2], plain(x[:2]).logits)  # a sample alone is judged alike


def test_initial_weights():
    torch.manual_seed(0)
    for network in (DCGANGenerator(spec=image(32)), DCGANDiscriminator(spec=image(32))):
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.05), name
            elif name.endswith("bias"):
                assert not parameter.any(), name
            else:
                assert parameter.mean().item() == pytest.approx(1, abs=0.01), name
