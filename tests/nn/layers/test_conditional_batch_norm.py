from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from adversaria.nn.layers import ConditionalBatchNorm, ConditionalBatchNorm2d


def test_one_class_is_plain_batch_norm():
    torch.manual_seed(0)
    conditional, plain = ConditionalBatchNorm2d(6, 1), nn.BatchNorm2d(6)
    nn.init.normal_(conditional.gain.weight)
    nn.init.normal_(conditional.bias.weight)
    with torch.no_grad():
        plain.weight.copy_(1 + conditional.gain.weight[0])
        plain.bias.copy_(conditional.bias.weight[0])
    labels = torch.zeros(8, dtype=torch.int64)
    for training in (True, True, False):  # running statistics move alike
        conditional.train(training)
        plain.train(training)
        x = 3 * torch.randn(8, 6, 5, 5) + 1
        torch.testing.assert_close(conditional(x, labels), plain(x))


def test_starts_at_plain_batch_norm_for_every_class():
    x = torch.randn(8, 6, 5, 5)
    torch.testing.assert_close(ConditionalBatchNorm2d(6, 8)(x, torch.arange(8)), nn.BatchNorm2d(6)(x))


def test_each_sample_has_gain_and_bias_of_its_class():
    torch.manual_seed(0)
    layer = ConditionalBatchNorm2d(2, 3)
    nn.init.normal_(layer.gain.weight)
    nn.init.normal_(layer.bias.weight)
    x, labels = torch.randn(4, 2, 3, 3), torch.tensor([2, 0, 2, 1])
    normal = nn.BatchNorm2d(2, affine=False)(x)
    for out, h, label in zip(layer(x, labels), normal, labels, strict=True):
        expected = torch.stack([h[c] * (1 + layer.gain.weight[label, c]) + layer.bias.weight[label, c] for c in (0, 1)])
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(("make", "shape"), [(nn.BatchNorm1d, ()), (nn.BatchNorm1d, (5,)), (nn.BatchNorm2d, (4, 5))])
def test_what_replaces_a_batch_norm_is_it_for_every_class(make, shape):
    torch.manual_seed(0)
    plain = make(6, eps=0.1, momentum=0.3)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    plain(torch.randn(8, 6, *shape))  # statistics move
    layer = ConditionalBatchNorm.replacing(copy.deepcopy(plain), 3)
    assert {name for name, _ in layer.named_parameters()} == {"gain.weight", "bias.weight"}
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    for training in (False, True, False):
        layer.train(training)
        plain.train(training)
        x = 3 * torch.randn(8, 6, *shape) + 1
        torch.testing.assert_close(layer(x, labels), plain(x))
