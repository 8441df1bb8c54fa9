from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers import SelfAttention2d, mixes_samples
from adversaria.nn.networks.biggan import DISCRIMINATOR_WIDTHS, GENERATOR_WIDTHS, BigGANDiscriminator, BigGANGenerator
from adversaria.nn.prior import Prior


def image(size=32, channels=3, classes=10):
    return DataSpec((channels, size, size), classes, Image())


def count(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_sizes_of_the_published_networks():
    with torch.device("meta"):
        assert count(BigGANGenerator(spec=image(), conditional=True, init="normal")) == 4_304_387
        assert count(BigGANDiscriminator(spec=image(), conditional=True, init="normal")) == 4_207_361
        large = BigGANGenerator(
            spec=image(),
            latent_dim=80,
            width=96,
            conditional=True,
            shared_dim=128,
            hierarchical=True,
            attention=[16],
            init="normal",
        )
        assert count(large) == 9_416_196
        d = BigGANDiscriminator(spec=image(), width=48, conditional=True, attention=[16], init="normal")
        assert count(d) == 2_415_170


def test_size_of_the_paper_at_128_px():
    """Brock et al. 2019, table 1: 158.3 million parameters of G and D, shared embedding and hierarchical latents."""
    spec = image(128, classes=1000)
    common = {"spec": spec, "width": 96, "conditional": True, "attention": [64], "init": "normal"}
    with torch.device("meta"):
        g = BigGANGenerator(latent_dim=120, shared_dim=128, hierarchical=True, **common)
        d = BigGANDiscriminator(**common)
    assert (count(g) + count(d)) / 1e6 == pytest.approx(158.3, abs=0.2)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(("size", "channels"), [(32, 1), (32, 3), (64, 1), (64, 3), (128, 3), (256, 1)])
def test_sizes_of_the_images(size, channels, conditional):
    common = {"spec": image(size, channels), "width": 4, "conditional": conditional, "attention": [16]}
    g = BigGANGenerator(shared_dim=8, hierarchical=True, **common)
    d = BigGANDiscriminator(**common)
    labels = torch.zeros(2, dtype=torch.int64) if conditional else None
    x = g(Prior.of(g).draw(2), labels)
    out = d(x, labels)
    assert x.shape == (2, channels, size, size)
    assert out.logits.shape == (2,)
    assert out.features.shape == (2, 4 * DISCRIMINATOR_WIDTHS[size][-1])
    assert g.latent_dim == 128 // len(GENERATOR_WIDTHS[size]) * len(GENERATOR_WIDTHS[size])


@pytest.mark.parametrize("wide", [False, True])
def test_width_between_the_convolutions(wide):
    d = BigGANDiscriminator(spec=image(64), width=16, wide=wide)
    hidden = [block.conv1.out_channels for block in d.blocks]
    assert hidden == ([16, 32, 64, 128, 256] if wide else [3, 16, 32, 64, 128])


def sides_of_attention(network, run):
    sides = []
    for module in network.modules():
        if isinstance(module, SelfAttention2d):
            module.register_forward_hook(lambda _, inputs, __: sides.append(inputs[0].shape[-1]))
    run()
    return sides


@pytest.mark.parametrize(
    ("size", "attention", "in_generator", "in_discriminator"),
    [
        (32, [], [], []),
        (32, [16], [16], [16]),
        (32, [8, 16], [8, 16], [16, 8, 8, 8]),
        (64, [8, 32], [8, 32], [32, 8]),
        (128, [64], [64], [64]),
    ],
)
def test_places_of_attention(size, attention, in_generator, in_discriminator):
    g = BigGANGenerator(spec=image(size), width=4, attention=attention)
    d = BigGANDiscriminator(spec=image(size), width=4, attention=attention)
    assert sides_of_attention(g, lambda: g(Prior.of(g).draw(2))) == in_generator
    assert sides_of_attention(d, lambda: d(torch.zeros(2, 3, size, size))) == in_discriminator


@pytest.mark.parametrize("hierarchical", [False, True])
def test_each_part_of_a_hierarchical_latent_reaches_its_block_and_what_follows(hierarchical):
    torch.manual_seed(0)
    g = BigGANGenerator(spec=image(), latent_dim=8, width=4, hierarchical=hierarchical).eval()
    z = torch.randn(2, 8)
    seen = []
    for block in g.blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))

    def outputs(z):
        seen.clear()
        g(z)
        return list(seen)

    before = outputs(z)
    for part in range(1, 4):
        changed = z.clone()
        changed[:, 2 * part : 2 * part + 2] += 1
        reached = [not torch.equal(a, b) for a, b in zip(before, outputs(changed), strict=True)]
        assert reached == [not hierarchical or block >= part - 1 for block in range(3)]


def test_latents_without_a_part_are_refused_and_a_remainder_is_dropped():
    with pytest.raises(UserError, match=r"model\.generator\.latent_dim=3 cannot be cut into the 4 parts"):
        BigGANGenerator(spec=image(), latent_dim=3, width=4, hierarchical=True)
    assert BigGANGenerator(spec=image(), latent_dim=11, width=4, hierarchical=True).latent_dim == 8


def test_the_logit_is_the_linear_layer_plus_the_projection_onto_the_class():
    """Miyato & Koyama 2018, equation 3: f(x, y) = psi(phi(x)) + y^T V phi(x), here with normalised weights."""
    torch.manual_seed(0)
    d = BigGANDiscriminator(spec=image(classes=5), width=4, conditional=True).eval()
    x = torch.randn(5, 3, 32, 32)
    out = d(x, torch.arange(5))
    maps = nn.Sequential(*d.blocks)(x)
    assert torch.allclose(out.features, maps.clamp(min=0).flatten(2).sum(2), rtol=1e-5)
    v = d.projection.parametrizations.weight.original
    v = v / torch.linalg.matrix_norm(v, ord=2)
    expected = out.features @ d.head.weight[0] + d.head.bias + (out.features * v).sum(1)
    torch.testing.assert_close(out.logits, expected, rtol=1e-3, atol=1e-3)


def test_what_is_spectrally_normalised():
    """Every layer but G's tables of class embeddings, as in the authors' code."""
    spec, options = image(classes=5), {"width": 4, "conditional": True, "attention": [16]}
    networks = [
        BigGANGenerator(spec=spec, **options),
        BigGANGenerator(spec=spec, shared_dim=8, hierarchical=True, **options),
        BigGANDiscriminator(spec=spec, **options),
    ]
    for network in networks:
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
                in_g = isinstance(network, BigGANGenerator)
                assert parametrize.is_parametrized(layer) != (in_g and isinstance(layer, nn.Embedding)), name
    assert not mixes_samples(networks[-1])


@pytest.mark.parametrize("make", [BigGANGenerator, BigGANDiscriminator])
def test_initial_weights(make):
    torch.manual_seed(0)
    for init in ("normal", "orthogonal", "xavier"):
        network = make(spec=image(), width=4, conditional=True, init=init)
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                check_weight(parameter.detach().flatten(1), parameter, init, name)
            elif name.endswith("bias"):
                assert not parameter.any(), name


def check_weight(matrix, parameter, init, name):
    rows, columns = matrix.shape
    if init == "orthogonal":
        gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
        torch.testing.assert_close(gram, torch.eye(min(rows, columns)), atol=1e-4, rtol=0, msg=name)
        return
    field = parameter[0, 0].numel() if parameter.ndim == 4 else 1
    std = 0.02 if init == "normal" else (2 / ((columns // field + rows) * field)) ** 0.5
    assert parameter.std().item() == pytest.approx(std, rel=6 / parameter.numel() ** 0.5), name


@pytest.mark.parametrize("make", [BigGANGenerator, BigGANDiscriminator])
def test_refusals(make):
    with pytest.raises(UserError, match="conditional=false"):
        make(spec=image(classes=None), conditional=True)
    with pytest.raises(UserError, match=r"data\.size=16 is not a size that biggan can make"):
        make(spec=image(16))
    with pytest.raises(UserError, match=r"attention=\[64\] names 64"):
        make(spec=image(), attention=[64])
    with pytest.raises(UserError, match=r"\.width=0"):
        make(spec=image(), width=0)


def test_hierarchical_latents_of_a_conditional_generator_need_a_shared_embedding():
    with pytest.raises(UserError, match=r"model\.generator\.shared_dim is null"):
        BigGANGenerator(spec=image(), hierarchical=True, conditional=True)
    with pytest.raises(UserError, match=r"shared_dim=0"):
        BigGANGenerator(spec=image(), shared_dim=0, conditional=True)
