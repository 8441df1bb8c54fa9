from __future__ import annotations

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers import mixes_samples
from adversaria.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.nn.prior import Prior


def image(size, channels=3):
    return DataSpec((channels, size, size), 10, Image())


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
        x = g(Prior.of(g).draw(2), labels)
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


@pytest.mark.parametrize("norm", ["instance", "layer", "group", "pixel", "none"])
def test_a_sample_alone_is_judged_alike_without_batch_norm(norm):
    assert mixes_samples(DCGANDiscriminator(spec=image(16), width=4))
    torch.manual_seed(0)
    d = DCGANDiscriminator(spec=image(16), width=4, norm=norm)
    assert not mixes_samples(d)
    x = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(d(x).logits[:2], d(x[:2]).logits)


@pytest.mark.parametrize(
    ("options", "added"),
    [
        # Norms with gain and bias take the place of BatchNorm's, others leave a bias to the convolution.
        ({"norm": "layer"}, (0, 0)),
        ({"norm": "pixel"}, (-2 * (256 + 128 + 64) + 128 + 64, -(128 + 256))),
        ({"norm": "none"}, (-2 * (256 + 128 + 64) + 128 + 64, -(128 + 256))),
        # One filter of 4x4 a channel and a 1x1 convolution, for the two convolutions between maps.
        (
            {"convolution": "separable"},
            (
                -15 * (256 * 128 + 128 * 64) + 16 * (128 + 64),
                -15 * (64 * 128 + 128 * 256) + 16 * (64 + 128),
            ),
        ),
        # Two convolutions of kernel 3 with BatchNorm for each of the three maps.
        ({"residual_blocks": 2}, (2 * sum(18 * c * c + 4 * c for c in (64, 128, 256)),) * 2),
    ],
)
def test_what_each_option_adds(options, added):
    with torch.device("meta"):
        sizes, plain = (
            [count(make(spec=image(32), **o)) for make in (DCGANGenerator, DCGANDiscriminator)] for o in (options, {})
        )
    assert tuple(a - b for a, b in zip(sizes, plain, strict=True)) == added


def test_tensors_keep_their_names():
    with torch.device("meta"):
        g, d = (make(spec=image(32)) for make in (DCGANGenerator, DCGANDiscriminator))
        plain = DCGANDiscriminator(spec=image(32), norm="none")
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def norm(*indices):
        return [f"layers.{i}.{name}" for i in indices for name in statistics]

    assert set(g.state_dict()) == {
        "project.weight", *norm(1, 4, 7), "layers.3.weight", "layers.6.weight", "layers.9.weight", "layers.9.bias",
    }  # fmt: skip
    head = {"layers.0.weight", "layers.0.bias", "layers.2.weight", "head.weight", "head.bias"}
    assert set(d.state_dict()) == {*head, *norm(3, 6), "layers.5.weight"}
    assert set(plain.state_dict()) == {*head, "layers.2.bias", "layers.4.weight", "layers.4.bias"}


@pytest.mark.parametrize("make", [DCGANGenerator, DCGANDiscriminator])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "bath"}, r"\.norm=bath is unknown: choose one of batch, instance"),
        ({"convolution": "deep"}, r"\.convolution=deep is unknown: choose one of plain, separable"),
        ({"residual_blocks": -1}, r"\.residual_blocks=-1 is negative"),
    ],
)
def test_unknown_options_are_refused(make, options, message):
    with pytest.raises(UserError, match=message):
        make(spec=image(16), **options)


def test_kernels_of_separable_convolutions_start_like_plain_ones():
    torch.manual_seed(0)
    d = DCGANDiscriminator(spec=image(32), convolution="separable")
    layer = d.layers[2]
    kernel = layer.pointwise.weight * layer.depthwise.weight[:, 0]  # [C_out, C_in, 1, 1] * [C_in, 4, 4]
    assert kernel.shape == (128, 64, 4, 4)
    assert kernel.std().item() == pytest.approx(0.02, rel=0.1)


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
