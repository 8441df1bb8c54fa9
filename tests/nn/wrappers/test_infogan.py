"""Generators with codes and discriminators that read them, around any network."""

from __future__ import annotations

import functools

import pytest
import torch

from adversaria.core.types import DataSpec
from adversaria.modalities import Image, Points
from adversaria.nn.latents import Uniform
from adversaria.nn.layers import Codes, mixes_samples
from adversaria.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.nn.networks.mlp import MLPDiscriminator, MLPGenerator
from adversaria.nn.prior import Prior
from adversaria.nn.wrappers.infogan import CodeDiscriminator, InfoGANGenerator
from adversaria.nn.wrappers.pictures import SWEEP
from adversaria.sampling.draw import traverse

MNIST = DataSpec((1, 32, 32), 10, Image())
SMALL = DataSpec((1, 16, 16), 5, Image())
CPU = torch.device("cpu")


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_are_those_of_dcgan_and_the_head():
    with torch.device("meta"):
        g = InfoGANGenerator(spec=MNIST, network=functools.partial(DCGANGenerator, latent_dim=74))
        d = CodeDiscriminator(spec=MNIST, network=DCGANDiscriminator)
        assert count(g) == count(DCGANGenerator(spec=MNIST, latent_dim=74))
        # 4096 features to 128 units with BatchNorm, and to 10 categories and 2 means
        head = 4096 * 128 + 128 + 2 * 128 + 128 * 12 + 12
        assert count(d) == count(DCGANDiscriminator(spec=MNIST)) + head
    assert (g.latent_dim, g.noise_dim) == (74, 62)  # the paper's 62 numbers of noise


def test_latents_are_noise_of_the_prior_and_codes():
    g = InfoGANGenerator(spec=SMALL, network=functools.partial(MLPGenerator, latent_dim=20), categorical=(4, 3))
    z = Prior.of(g, Uniform()).draw(500)
    assert z.shape == (500, 20)
    noise, codes = z[:, :11], z[:, 11:]
    assert noise.abs().max() <= 1
    (four, three), continuous = Codes((4, 3), 2).split(codes)
    assert torch.equal(four.sum(1), torch.ones(500))
    assert torch.equal(three.sum(1), torch.ones(500))
    assert continuous.shape == (500, 2)


@pytest.mark.parametrize("conditional", [False, True])
def test_traversals_vary_one_code_and_nothing_else(conditional):
    network = functools.partial(MLPGenerator, latent_dim=20, conditional=conditional)
    g = InfoGANGenerator(spec=SMALL, network=network, categorical=(4, 3))
    pictures = g.traversals(6, Prior.of(g).draw)
    assert list(pictures) == ["categorical_0", "categorical_1", "continuous_0", "continuous_1"]
    varied = {"categorical_0": (11, 15), "categorical_1": (15, 18), "continuous_0": (18, 19), "continuous_1": (19, 20)}
    for name, z in pictures.items():
        start, stop = varied[name]
        others = torch.ones(20, dtype=torch.bool)
        others[start:stop] = False
        assert torch.equal(z[:, :1, others].expand_as(z[..., others]), z[..., others]), name
        assert not torch.equal(z[:, :1].expand_as(z), z), name
        (four, three), _ = g.codes.split(z.flatten(0, 1)[:, 11:])
        assert set(torch.cat([four, three], 1).unique().tolist()) == {0, 1}
    assert torch.equal(pictures["categorical_0"][2, :, 11:15], torch.eye(4))  # a category for each column
    z = pictures["continuous_0"]
    assert torch.equal(z[0, :, 18], torch.linspace(-SWEEP, SWEEP, 6))
    assert torch.equal(z[:, 0, 11:15], torch.eye(4))  # a category for each row, all else alike
    assert torch.equal(z[:1, :, :11].expand(4, -1, -1), z[..., :11])
    assert conditional is g.conditional


def test_pictures_show_what_a_code_does():
    """A generator that paints its category as a line and its continuous code as a brightness."""

    class Painter(torch.nn.Module):
        latent_dim = 8

        def __init__(self, *, spec):
            super().__init__()
            self.device = torch.nn.Parameter(torch.zeros(1))

        def forward(self, z, labels=None):
            images = torch.zeros(len(z), 1, 16, 16)
            images[:, 0, :3, :] = z[:, 4:7, None]
            images[:, 0, 8] = z[:, 7:]
            return images

    g = InfoGANGenerator(spec=SMALL, network=Painter, categorical=(3,), continuous=1)
    pictures = traverse(g, Prior.of(g), SMALL, CPU, seed=3)
    assert {name: tuple(rows.shape) for name, rows in pictures.items()} == {
        "categorical_0": (10, 3, 1, 16, 16),
        "continuous_0": (3, 10, 1, 16, 16),
    }
    for column in range(3):
        lines = pictures["categorical_0"][:, column, 0, :3].mean(dim=2)
        assert torch.equal(lines, torch.eye(3)[column].expand(10, 3))
    sweep = pictures["continuous_0"]
    torch.testing.assert_close(sweep[:, :, 0, 8, 0], torch.linspace(-SWEEP, SWEEP, 10).expand(3, 10))
    assert torch.equal(sweep[:, :, 0, :3, 0].transpose(1, 2), torch.eye(3)[:, :, None].expand(3, 3, 10))


def test_a_conditional_network_gets_a_label_for_each_row():
    class Echo(torch.nn.Module):
        conditional, latent_dim = True, 5

        def __init__(self, *, spec):
            super().__init__()
            self.device = torch.nn.Parameter(torch.zeros(1))

        def forward(self, z, labels):
            return labels[:, None].expand(-1, 2).float()

    g = InfoGANGenerator(spec=SMALL, network=Echo, categorical=(3,), continuous=1)
    ring = DataSpec((2,), 4, Points((-1.0, 1.0)))
    rows = traverse(g, Prior.of(g), ring, CPU, labels=[3, 1])["continuous_0"]
    assert rows.shape == (3, 100, 2)
    assert rows[:, :, 0].unique(dim=1).flatten().tolist() == [3, 1, 3]


def test_a_network_without_codes_has_no_pictures():
    g = MLPGenerator(spec=SMALL)
    assert traverse(g, Prior.of(g), SMALL, CPU) == {}


def test_the_head_reads_the_features_and_leaves_the_judgement_alone():
    torch.manual_seed(0)
    d = CodeDiscriminator(spec=SMALL, network=functools.partial(MLPDiscriminator, width=16), batch_norm=False)
    x = torch.randn(4, 1, 16, 16)
    out, alone = d(x), d.network(x)
    assert torch.equal(out.logits, alone.logits)
    assert out.class_logits.shape == (4, 12)
    torch.testing.assert_close(out.class_logits, d.code_head(alone.features))
    assert not mixes_samples(d)
    assert mixes_samples(CodeDiscriminator(spec=SMALL, network=MLPDiscriminator))
