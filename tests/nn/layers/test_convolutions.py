from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from adversaria.nn.layers import PlainBlock, ResidualBlock, SeparableConv2d, SeparableConvTranspose2d
from adversaria.nn.layers.convolutions import CONVOLUTIONS


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 1, 1), (1, 1, 0)])
def test_a_separable_convolution_is_the_full_one_of_the_composed_kernel(kernel, stride, padding, bias):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    layer = SeparableConv2d(6, 10, kernel, stride, padding, bias=bias).double()
    composed = layer.pointwise.weight * layer.depthwise.weight[:, 0]  # [10, 6, K, K]
    expected = F.conv2d(x, composed, layer.pointwise.bias, stride, padding)
    torch.testing.assert_close(layer(x), expected)
    assert sum(p.numel() for p in layer.parameters()) == 6 * kernel**2 + 60 + 10 * bias


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 1, 1)])
def test_a_separable_transposed_convolution_is_the_full_one_of_the_composed_kernel(kernel, stride, padding, bias):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    layer = SeparableConvTranspose2d(6, 10, kernel, stride, padding, bias=bias).double()
    composed = layer.pointwise.weight.transpose(0, 1) * layer.depthwise.weight[:, 0]  # [6, 10, K, K]
    expected = F.conv_transpose2d(x, composed, layer.depthwise.bias, stride, padding)
    torch.testing.assert_close(layer(x), expected)
    assert sum(p.numel() for p in layer.parameters()) == 10 * kernel**2 + 60 + 10 * bias


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_residual_block_adds_its_layers_to_what_it_is_given(convolution, norm):
    torch.manual_seed(0)
    make = CONVOLUTIONS[convolution]
    block = ResidualBlock("model.generator", 6, convolution=make, norm=norm, activation=nn.ReLU())
    convolutions = [layer for layer in block.layers if isinstance(layer, make)]
    x = torch.randn(4, 6, 5, 5)
    h = x
    for layer, activation in zip(convolutions, (F.relu, lambda h: h), strict=True):
        h = layer(h)
        if norm == "batch":
            h = F.batch_norm(h, None, None, training=True)
        h = activation(h)
    torch.testing.assert_close(block(x), x + h)
    biases = [name for name, _ in convolutions[0].named_parameters() if name.endswith("bias")]
    assert len(biases) == (norm == "none")


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_plain_block_has_an_activation_after_each_convolution_and_no_shortcut(convolution):
    torch.manual_seed(0)
    make = CONVOLUTIONS[convolution]
    block = PlainBlock("model.generator", 6, convolution=make, norm="none", activation=nn.ReLU())
    first, second = (layer for layer in block if isinstance(layer, make))
    x = torch.randn(4, 6, 5, 5)
    torch.testing.assert_close(block(x), F.relu(second(F.relu(first(x)))))
