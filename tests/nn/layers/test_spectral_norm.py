from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from adversaria.nn.layers import spectral_norm
from adversaria.nn.layers.spectral_norm import iterate_together


def largest_singular_value(weight):
    return torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2).item()


LAYERS = [lambda: nn.Linear(12, 7), lambda: nn.Conv2d(3, 8, 4)]


@pytest.mark.parametrize("make", LAYERS)
def test_the_largest_singular_value_becomes_one(make):
    torch.manual_seed(0)
    layer = spectral_norm(make())
    original = layer.parametrizations.weight.original
    for _ in range(100):
        layer.weight  # noqa: B018  each look in training mode is one power iteration
    assert largest_singular_value(layer.weight) == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose(layer.weight * largest_singular_value(original), original, rtol=1e-3)


def test_a_transposed_convolution_is_a_matrix_by_what_it_puts_out():
    torch.manual_seed(0)
    layer = spectral_norm(nn.ConvTranspose2d(8, 3, 4))  # weight [C_in, C_out, K, K]
    for _ in range(100):
        weight = layer.weight
    assert largest_singular_value(weight.transpose(0, 1)) == pytest.approx(1.0, rel=1e-4)


def test_more_power_iterations_are_closer():
    torch.manual_seed(0)
    few, many = nn.Linear(40, 40), nn.Linear(40, 40)
    many.load_state_dict(few.state_dict())
    torch.manual_seed(1)
    spectral_norm(few)
    torch.manual_seed(1)
    spectral_norm(many, n_power_iterations=30)
    assert abs(largest_singular_value(many.weight) - 1) < abs(largest_singular_value(few.weight) - 1)


def test_iterates_in_training_mode_only():
    layer = spectral_norm(nn.Linear(12, 7))
    u = layer.parametrizations.weight[0].u
    layer.eval()
    before = u.clone()
    layer(torch.zeros(1, 12))
    assert torch.equal(u, before)
    layer.train()
    layer(torch.zeros(1, 12))
    assert not torch.equal(u, before)


def test_two_passes_before_one_backward():
    layer = spectral_norm(nn.Linear(12, 7))
    x = torch.randn(2, 12)
    (layer(x).sum() - layer(x + 1).sum()).backward()
    assert layer.parametrizations.weight.original.grad.isfinite().all()


def test_the_gradient_sees_the_division():
    # W / sigma(W) does not change when W is scaled, so the gradient is orthogonal to W.
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(12, 7, bias=False)).double()
    layer(torch.randn(4, 12, dtype=torch.float64)).square().sum().backward()
    original = layer.parametrizations.weight.original
    cosine = torch.cosine_similarity(original.grad.flatten(), original.detach().flatten(), dim=0)
    assert cosine.item() == pytest.approx(0.0, abs=1e-9)


def test_autocast_keeps_the_weight_in_float32():
    layer = spectral_norm(nn.Conv2d(3, 8, 4)).eval()
    expected = layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.weight.dtype == torch.float32
        assert torch.equal(layer.weight, expected)
        assert layer(torch.zeros(1, 3, 4, 4)).dtype == torch.bfloat16


def test_state_and_copies():
    torch.manual_seed(0)
    layer, other = spectral_norm(nn.Conv2d(3, 8, 4)), spectral_norm(nn.Conv2d(3, 8, 4))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    clone = copy.deepcopy(layer)
    x = torch.randn(2, 3, 6, 6)
    for _ in range(2):  # the singular vectors move alike, too
        expected = layer(x)
        assert torch.equal(other(x), expected)
        assert torch.equal(clone(x), expected)


def test_channels_last_is_the_same_matrix():
    torch.manual_seed(0)
    layer = spectral_norm(nn.Conv2d(3, 8, 4)).eval()
    expected = layer.weight
    assert torch.allclose(layer.to(memory_format=torch.channels_last).weight, expected, rtol=1e-6)


class TestTogether:
    """The layers of a network iterate at once, and nothing else changes."""

    ORDERS = pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = spectral_norm(nn.Conv2d(3, 8, 4))
            self.up = spectral_norm(nn.ConvTranspose2d(8, 5, 3), n_power_iterations=3)
            self.embedding = spectral_norm(nn.Embedding(4, 180))
            self.head = spectral_norm(nn.Linear(180, 1))
            self.plain = nn.Linear(1, 1)

        def forward(self, x, labels):
            h = self.up(self.conv(x).relu()).flatten(1)
            return self.plain(self.head(h)) + (self.embedding(labels) * h).sum(dim=1, keepdim=True)

    @pytest.fixture
    def inputs(self):
        return torch.randn(6, 3, 7, 7), torch.tensor([0, 1, 2, 3, 0, 1])

    @ORDERS
    def test_the_same_numbers_as_alone(self, inputs, order):
        alone = self.Net().to(memory_format=order)
        together = iterate_together(copy.deepcopy(alone))
        for _ in range(3):
            a, b = alone(*inputs), together(*inputs)
            assert torch.equal(a, b)
            for network, output in ((alone, a), (together, b)):
                output.square().mean().backward()
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.sub_(0.1 * parameter.grad)
        assert together.state_dict().keys() == alone.state_dict().keys()
        for name, value in alone.state_dict().items():
            assert torch.equal(together.state_dict()[name], value), name

    def test_evaluation_and_a_cache_move_nothing(self, inputs):
        network = iterate_together(self.Net())
        before = copy.deepcopy(network.state_dict())
        network.eval()(*inputs)
        assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
        network.train()
        alone = self.Net()
        alone.load_state_dict(network.state_dict())
        with parametrize.cached():  # one iteration for both passes
            assert torch.equal(network(*inputs), network(*inputs))
        alone(*inputs)
        assert all(torch.equal(alone.state_dict()[name], value) for name, value in network.state_dict().items())

    def test_a_copy_moves_its_own_vectors(self, inputs):
        network = iterate_together(self.Net())
        before = copy.deepcopy(network.state_dict())
        clone = copy.deepcopy(network)
        clone(*inputs)
        assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
        assert not torch.equal(clone.conv.parametrizations.weight[0].u, network.conv.parametrizations.weight[0].u)

    def test_a_layer_used_twice_or_never_in_a_pass(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.spare = spectral_norm(nn.Linear(5, 5)), spectral_norm(nn.Linear(5, 5))

            def forward(self, x):
                return self.layer(self.layer(x))

        network = Twice()
        other = iterate_together(copy.deepcopy(network))
        x = torch.randn(2, 5)
        for _ in range(2):
            assert torch.equal(network(x), other(x))
        assert other.spare.parametrizations.weight[0].ahead is None

    def test_vectors_are_stored_in_one_order_for_all_layouts(self, inputs):
        standard = iterate_together(self.Net())
        last = copy.deepcopy(standard).to(memory_format=torch.channels_last)
        for network in (standard, last):
            network(*inputs)
        for name, value in standard.named_buffers():
            torch.testing.assert_close(dict(last.named_buffers())[name], value)

    @pytest.mark.slow
    @ORDERS
    def test_compiles_into_one_graph(self, inputs, order):
        network = iterate_together(self.Net()).to(memory_format=order)
        other = copy.deepcopy(network)
        compiled = torch.compile(other, backend="aot_eager", fullgraph=True)
        for _ in range(2):
            torch.testing.assert_close(compiled(*inputs), network(*inputs))
        for name, value in network.named_buffers():
            torch.testing.assert_close(dict(other.named_buffers())[name], value)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("make", [*LAYERS, lambda: nn.ConvTranspose2d(4, 3, 2), lambda: nn.Conv2d(3, 5, 1)])
def test_first_and_second_derivatives(make, order):
    norm_of = spectral_norm(make().double().to(memory_format=order)).eval().parametrizations.weight
    weight = norm_of.original.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    assert torch.autograd.gradcheck(norm_of[0], (weight,), fast_mode=True)
    assert torch.autograd.gradgradcheck(norm_of[0], (weight,), fast_mode=True)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_pass_is_that_of_pytorch(order):
    torch.manual_seed(0)
    ours = spectral_norm(nn.Conv2d(3, 8, 4).to(memory_format=order))
    theirs = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 4).to(memory_format=order))
    mine, other = ours.parametrizations.weight, theirs.parametrizations.weight
    other.original.data.copy_(mine.original.data)
    other[0]._u.copy_(mine[0].u)
    other[0]._v.copy_(mine[0].v)
    x = torch.randn(2, 3, 6, 6)
    for _ in range(2):
        losses = ours(x).square().sum(), torch.nn.functional.conv2d(x, theirs.weight, ours.bias).square().sum()
        torch.testing.assert_close(*losses)
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(mine.original.grad, other.original.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine[0].v, other[0]._v)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("channels", "kernel"), [(3, 4), (1, 3), (3, 1), (1, 1)])
def test_weight_and_gradient_lie_in_memory_as_the_parameter(channels, kernel, order):
    layer = spectral_norm(nn.Conv2d(channels, 8, kernel)).to(memory_format=order)
    original = layer.parametrizations.weight.original
    assert layer.weight.stride() == original.stride()
    layer(torch.randn(2, channels, 6, 6)).sum().backward()
    assert original.grad.stride() == original.stride()
