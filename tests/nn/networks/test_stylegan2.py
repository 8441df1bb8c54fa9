from __future__ import annotations

import functools
import math

import pytest
import torch
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image, Points
from adversaria.nn.layers import mixes_samples
from adversaria.nn.layers.equalised import EqualisedConv2d, EqualisedLinear
from adversaria.nn.layers.minibatch_std import MinibatchStd
from adversaria.nn.layers.modulated import StyledConv2d, ToImage, demodulation
from adversaria.nn.layers.resample import Blur, Upsample
from adversaria.nn.networks.stylegan2 import SIZES, StyleGAN2Discriminator, StyleGAN2Generator
from adversaria.nn.prior import Prior

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
small_g = functools.partial(
    StyleGAN2Generator, latent_dim=8, style_dim=8, mapping_layers=2, channel_base=512, channel_max=16
)
small_d = functools.partial(StyleGAN2Discriminator, channel_base=512, channel_max=16)


def image(size: int, channels: int = 3) -> DataSpec:
    return DataSpec((channels, size, size), 10, Image())


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("conditional", "g_count", "d_count"), [(False, 19947539, 20720641), (True, 20215315, 23089664)]
)
def test_parameter_counts_of_the_cifar_configuration(conditional, g_count, d_count):
    with torch.device("meta"):
        g = StyleGAN2Generator(spec=image(32), mapping_layers=2, style_mixing=0.0, conditional=conditional)
        d = StyleGAN2Discriminator(spec=image(32), architecture="plain", mbstd_group=32, conditional=conditional)
    assert (count(g), count(d)) == (g_count, d_count)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_and_channels(size):
    with torch.device("meta"):
        g, d = StyleGAN2Generator(spec=image(size, 1)), StyleGAN2Discriminator(spec=image(size, 1))
        x = g(Prior.of(g).draw(2))
        out = d(x)
    assert x.shape == (2, 1, size, size)
    assert (out.logits.shape, out.features.shape) == ((2,), (2, 512))
    widths = [block.to_image.weight.shape[1] for block in g.synthesis.blocks]
    assert widths == [min(32768 // (4 * 2**k), 512) for k in range(len(widths))]
    assert d.blocks[0].convolution.weight.shape[0] == widths[-1]
    assert g.mapping(torch.randn(2, 512, device="meta")).shape == (2, 2 * len(widths), 512)


@pytest.mark.parametrize("architecture", ["residual", "plain", "skip"])
def test_architectures_of_the_discriminator(architecture):
    torch.manual_seed(0)
    d = small_d(spec=image(64), architecture=architecture)
    d(torch.randn(4, 3, 64, 64)).logits.sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in d.parameters())
    entrances = sum(name.endswith("from_image.weight") for name, _ in d.named_parameters())
    assert entrances == (5 if architecture == "skip" else 1)
    shortcuts = sum("shortcut" in name for name, _ in d.named_parameters())
    assert shortcuts == (4 if architecture == "residual" else 0)


def test_equalised_layers_start_at_unit_weights_and_keep_unit_variance():
    torch.manual_seed(0)
    linear = EqualisedLinear(256, 512, lr_multiplier=0.01, gain=1.5)
    assert linear.weight.std().item() == pytest.approx(100, rel=0.02)
    assert linear(torch.randn(400, 256)).std().item() == pytest.approx(1.5, rel=0.02)
    with torch.no_grad():
        linear.bias.fill_(1.0)
    assert linear(torch.zeros(1, 256)).mean().item() == pytest.approx(0.015)
    convolution = EqualisedConv2d(64, 128, 3, gain=2.0)
    assert convolution.weight.std().item() == pytest.approx(1, rel=0.02)
    interior = convolution(torch.randn(4, 64, 10, 10))[..., 1:-1, 1:-1]
    assert interior.std().item() == pytest.approx(2, rel=0.05)


def test_modulated_and_demodulated_weights_have_unit_norm():
    torch.manual_seed(0)
    weight, styles = torch.randn(6, 5, 3, 3), torch.randn(4, 5)
    scales = demodulation(weight, styles)
    modulated = weight * styles[:, None, :, None, None] * scales[:, :, None, None, None]  # [N, O, I, K, K]
    torch.testing.assert_close(modulated.flatten(2).norm(dim=2), torch.ones(4, 6))


@pytest.mark.parametrize("up", [False, True])
def test_the_styled_convolution_equals_one_with_weights_for_each_sample(up):
    torch.manual_seed(0)
    layer = StyledConv2d(3, 5, style_dim=4, size=8, up=up).double().eval()
    with torch.no_grad():
        layer.noise_strength.fill_(0.3)
        layer.bias.normal_()
    x, w = torch.randn(2, 3, 4 if up else 8, 4 if up else 8).double(), torch.randn(2, 4).double()
    styles = w @ layer.affine.weight.t() / 2 + layer.affine.bias
    expected = []
    for sample, style in zip(x, styles, strict=True):
        weight = layer.weight * style[:, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            # Zeros between the samples, a true convolution (a flipped kernel), the filter with a gain of 4.
            zeros = torch.zeros(1, 3, 8, 8).double()
            zeros[..., ::2, ::2] = sample
            wide = F.conv2d(zeros, weight.flip(2, 3), padding=2)  # [1, 5, 10, 10]
            kernel = torch.outer(TAPS, TAPS).expand(5, 1, 4, 4) * 4
            h = F.conv2d(F.pad(wide, (1, 0, 1, 0)), kernel, groups=5)
        else:
            h = F.conv2d(sample[None], weight, padding=1)
        expected.append(F.leaky_relu(h + 0.3 * layer.noise + layer.bias[:, None, None], 0.2) * math.sqrt(2))
    torch.testing.assert_close(layer(x, w), torch.cat(expected))


def test_half_precision_neither_overflows_nor_changes_the_numbers():
    torch.manual_seed(0)
    layer = StyledConv2d(512, 16, style_dim=4, size=8, up=False).eval()
    x, w = 200 * torch.rand(2, 512, 8, 8), 500 * torch.ones(2, 4)
    expected = layer(x, w)
    with torch.autocast("cpu", torch.float16):
        half = layer(x.half(), w)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), expected.clamp(-256, 256), rtol=0.02, atol=0.5)
    with torch.autocast("cpu", torch.bfloat16):
        brain = layer(x.bfloat16(), w)
    torch.testing.assert_close(brain.float(), expected, rtol=0.05, atol=4.0)  # not clamped
    assert brain.abs().max() > 256


def test_the_image_layer_does_not_demodulate():
    torch.manual_seed(0)
    layer = ToImage(8, 3, style_dim=4)
    with torch.no_grad():
        layer.affine.weight.zero_()
        layer.affine.bias.fill_(5.0)
    x = torch.randn(2, 8, 4, 4)
    expected = torch.einsum("ncHW,oc->noHW", x, layer.weight[:, :, 0, 0]) * 5 / math.sqrt(8)
    torch.testing.assert_close(layer(x, torch.randn(2, 4)), expected)


def test_resampling_equals_the_filter_applied_to_rows_and_columns():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)

    def filtered(rows, before, after):
        padded = F.pad(rows, (before, after))
        return sum(tap * padded[..., k : k + padded.shape[-1] - 3] for k, tap in enumerate(TAPS))

    def both(x, before, after):
        return filtered(filtered(x, before, after).mT, before, after).mT

    zeros = torch.zeros(2, 3, 12, 12, dtype=torch.float64)
    zeros[..., ::2, ::2] = x
    torch.testing.assert_close(Upsample().double()(x), 4 * both(zeros, 2, 1))
    torch.testing.assert_close(Blur(stride=2).double()(x), both(x, 1, 1)[..., ::2, ::2])
    torch.testing.assert_close(Blur(padding=2).double()(x), both(x, 2, 2))
    constant = Upsample()(torch.full((1, 2, 4, 4), 3.0))
    torch.testing.assert_close(constant[..., 1:-1, 1:-1], torch.full((1, 2, 6, 6), 3.0))


@pytest.mark.parametrize(("n", "group", "members"), [(8, 4, 4), (7, 4, 4), (3, 4, 3), (6, 6, 6), (5, 2, 2)])
def test_minibatch_standard_deviation(n, group, members):
    torch.manual_seed(0)
    x = torch.randn(n, 4, 2, 2)
    out = MinibatchStd(group, channels=2)(x)
    assert out.shape == (n, 6, 2, 2)
    assert torch.equal(out[:, :4], x)
    groups = math.ceil(n / members)
    for k in range(groups):
        std = (x[k::groups].var(dim=0, correction=0) + 1e-8).sqrt()  # [4, 2, 2]
        for map_, channels in ((4, slice(0, 2)), (5, slice(2, 4))):
            torch.testing.assert_close(out[k::groups, map_], std[channels].mean().expand(len(x[k::groups]), 2, 2))
    assert mixes_samples(small_d(spec=image(16)))
    assert not mixes_samples(small_d(spec=image(16), mbstd_channels=0))


def test_truncation():
    torch.manual_seed(0)
    g = small_g(spec=image(16)).eval()
    g.w_avg.normal_()
    z = Prior.of(g).draw(3)
    mean_image = g.synthesis(g.w_avg.expand(1, g.synthesis.num_ws, -1))
    torch.testing.assert_close(g(z, truncation=0.0), mean_image.expand(3, -1, -1, -1))
    assert torch.equal(g(z, truncation=1.0), g(z))
    torch.testing.assert_close(g(z, truncation=0.3), g.synthesis(g.w_avg + 0.3 * (g.mapping(z) - g.w_avg)))
    assert (g(z) - mean_image).abs().max() > 0.1


def test_the_mean_is_followed_in_training_mode_alone():
    torch.manual_seed(0)
    g = small_g(spec=image(16), w_avg_beta=0.75, style_mixing=1.0)
    z = Prior.of(g).draw(64)
    mean = g.mapping(z)[:, 0].mean(dim=0)
    g(z)
    torch.testing.assert_close(g.w_avg, 0.25 * mean)
    g(z)
    torch.testing.assert_close(g.w_avg, 0.4375 * mean)
    g.eval()(z)
    torch.testing.assert_close(g.w_avg, 0.4375 * mean)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_style_mixing(probability, monkeypatch):
    torch.manual_seed(0)
    g = small_g(spec=image(16), style_mixing=probability)
    given = []
    monkeypatch.setattr(g.synthesis, "forward", lambda ws: given.append(ws) or ws)
    z = Prior.of(g).draw(3)
    plain = g.mapping(z)
    for _ in range(40):
        g(z)
    g.eval()(z)
    kept = [(ws == plain).all(dim=2) for ws in given]  # [3, num_ws] each
    assert all((k == k[0]).all() for k in kept)  # one position for the batch
    positions = [int(k[0].sum()) for k in kept]
    assert all(k[0, :p].all() for k, p in zip(kept, positions, strict=True))
    assert positions.pop() == g.synthesis.num_ws == 6  # in evaluation mode nothing is mixed
    assert set(positions) == ({1, 2, 3, 4, 5} if probability else {6})


def test_noise_is_random_in_training_mode_alone():
    torch.manual_seed(0)
    g = small_g(spec=image(16), style_mixing=0.0)
    with torch.no_grad():
        for name, parameter in g.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(1.0)
    z = Prior.of(g).draw(2)
    assert not torch.equal(g(z), g(z))
    g.eval()
    assert torch.equal(g(z), g(z))
    torch.testing.assert_close(g(z)[:1], g(z[:1]), rtol=1e-4, atol=1e-4)


def test_a_conditional_discriminator_scores_by_an_inner_product():
    torch.manual_seed(0)
    d = small_d(spec=image(16), conditional=True, cmap_dim=7, mapping_layers=2)
    x, labels = torch.randn(3, 3, 16, 16), torch.tensor([0, 5, 9])
    out = d(x, labels)
    embed, one_hot = d.mapping.labels, F.one_hot(labels, 10).float()
    code = one_hot @ embed.embedding.weight / math.sqrt(10) + embed.bias
    code = code / code.square().mean(dim=1, keepdim=True).sqrt()
    for layer in d.mapping.layers:
        code = F.leaky_relu(code @ layer.weight.t() * 0.01 / math.sqrt(7) + layer.bias * 0.01, 0.2) * math.sqrt(2)
    expected = (d.head(out.features) * code).sum(dim=1) / math.sqrt(7)
    torch.testing.assert_close(out.logits, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (small_g, {"style_mixing": 1.5}, r"model\.generator\.style_mixing=1\.5"),
        (small_g, {"w_avg_beta": -1.0}, r"model\.generator\.w_avg_beta=-1\.0"),
        (small_g, {"mapping_layers": 0}, r"model\.generator\.mapping_layers=0"),
        (small_g, {"channel_base": 8}, r"model\.generator\.channel_base=8 leaves no channels at 16 px"),
        (small_d, {"channel_max": 0}, r"model\.discriminator\.channel_max=0"),
        (small_d, {"mbstd_group": 0}, r"model\.discriminator\.mbstd_group=0"),
        (small_d, {"mbstd_channels": 3}, r"mbstd_channels=3 must be 0 or divide the 16 channels"),
        (small_d, {"cmap_dim": 0}, r"model\.discriminator\.cmap_dim=0"),
    ],
)
def test_numbers_out_of_range_are_refused(make, arguments, message):
    with pytest.raises(UserError, match=message):
        make(spec=image(16), **arguments)


@pytest.mark.parametrize("make", [small_g, small_d])
def test_data_that_it_cannot_make_is_refused(make):
    for shape in ((3, 48, 48), (3, 8, 8), (3, 16, 32), (1, 2048, 2048)):
        with pytest.raises(UserError, match=r"data\.size=\S+ is not a size"):
            make(spec=DataSpec(shape, None, Image()))
    with pytest.raises(UserError, match="model=mlp"):
        make(spec=DataSpec((2,), None, Points()))
    with pytest.raises(UserError, match="conditional=false"):
        make(spec=DataSpec((3, 16, 16), None, Image()), conditional=True)
