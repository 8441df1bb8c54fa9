from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from adversaria.nn.layers import spectral_norm
from adversaria.nn.layers.residual import DiscriminatorBlock, GeneratorBlock, Make


def marked(value):
    """Sets every weight to a number that tells who made the layer."""
    return Make(lambda weight: nn.init.constant_(weight, value))


def randomised(block):
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block.double()


def discriminator_block(in_channels, out_channels, **options):
    make = Make(nn.init.xavier_uniform_)
    return DiscriminatorBlock(in_channels, out_channels, make=make, make_shortcut=make, **options)


class Scaled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x, *condition):
        return self.weight * x * sum(condition, start=1.0)


@pytest.mark.parametrize("condition", [(), (2.0,)])
@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_generator_block_is_the_formula_of_the_papers(upsampling, condition):
    torch.manual_seed(0)
    make = Make(nn.init.xavier_uniform_)
    block = GeneratorBlock(3, 5, norm=Scaled, make=make, make_shortcut=make, upsampling=upsampling)
    block = randomised(block)
    x = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    double = nn.Upsample(scale_factor=2, mode=upsampling)
    h = block.conv1(double(F.relu(block.norm1(x, *condition))))
    h = block.conv2(F.relu(block.norm2(h, *condition)))
    # The papers enlarge before they convolve.
    torch.testing.assert_close(block(x, *condition), h + block.shortcut(double(x)))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("activated_shortcut", [False, True])
@pytest.mark.parametrize("downsample", [False, True])
@pytest.mark.parametrize("channels", [(4, 4, 4), (6, 7, 8)])
def test_discriminator_block_is_the_formula_of_the_papers(channels, downsample, activated_shortcut, first):
    torch.manual_seed(0)
    in_channels, hidden, out_channels = channels
    options = {"downsample": downsample, "activated_shortcut": activated_shortcut, "first": first}
    block = randomised(discriminator_block(in_channels, out_channels, hidden=hidden, **options))
    assert block.conv1.out_channels == hidden
    assert isinstance(block.shortcut, nn.Identity) == (in_channels == out_channels and not downsample)
    x = torch.randn(3, in_channels, 8, 8, dtype=torch.float64)
    h = x if first else x.clamp(min=0)
    total = block.conv2(block.conv1(h).clamp(min=0)) + block.shortcut(h if activated_shortcut else x)
    # The papers convolve the shortcut before they halve it.
    expected = total.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)) if downsample else total
    torch.testing.assert_close(block(x), expected)


def test_who_makes_which_layer():
    made = {"make": marked(1.0), "make_shortcut": marked(2.0)}
    for block in (
        GeneratorBlock(2, 3, norm=nn.BatchNorm2d, upsampling="nearest", **made),
        DiscriminatorBlock(2, 3, hidden=3, downsample=True, **made),
    ):
        means = {name: layer.weight.mean().item() for name, layer in block.named_modules() if "conv" in name}
        assert means == {"conv1": 1.0, "conv2": 1.0}
        assert block.shortcut.weight.mean().item() == 2.0
        assert not any(layer.bias.any() for layer in (block.conv1, block.conv2, block.shortcut))


def test_a_layer_is_initialised_before_it_is_wrapped():
    layer = Make(nn.init.eye_, spectral_norm)(nn.Linear(3, 3))
    assert torch.equal(layer.parametrizations.weight.original, torch.eye(3))
    assert not layer.bias.any()
    torch.testing.assert_close(torch.linalg.matrix_norm(layer.weight, ord=2).item(), 1.0)
    embedding = Make(nn.init.ones_)(nn.Embedding(2, 3))  # has no bias
    assert torch.equal(embedding.weight, torch.ones(2, 3))
