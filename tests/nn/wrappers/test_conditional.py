"""Networks that take no labels, and what gives them labels."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.modalities import Image, Points
from adversaria.nn.inputs import LatentInputs
from adversaria.nn.latents import Uniform
from adversaria.nn.layers import ConditionalBatchNorm
from adversaria.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.nn.networks.mlp import MLPDiscriminator, MLPGenerator
from adversaria.nn.networks.resnet import ResNetGenerator
from adversaria.nn.prior import Prior
from adversaria.nn.wrappers.conditional import ClassifyingDiscriminator, ClassNormGenerator, ProjectedDiscriminator
from adversaria.nn.wrappers.infogan import CodeDiscriminator, InfoGANGenerator
from adversaria.nn.wrappers.packing import PackedDiscriminator
from adversaria.sampling.draw import Draw

RGB = DataSpec((3, 16, 16), 5, Image())
ONE_CLASS = DataSpec((3, 16, 16), 1, Image())
UNLABELLED = DataSpec((3, 16, 16), None, Image())
RING = DataSpec((2,), 5, Points((-2.0, 2.0)))
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
dcgan_g = functools.partial(DCGANGenerator, latent_dim=20, width=8)
dcgan_d = functools.partial(DCGANDiscriminator, width=8)


@pytest.mark.parametrize("network", [dcgan_g, functools.partial(ResNetGenerator, latent_dim=20, width=8)])
def test_at_first_every_class_is_the_plain_generator(network):
    torch.manual_seed(0)
    plain = network(spec=RGB)
    torch.manual_seed(0)
    g = ClassNormGenerator(spec=RGB, network=network)
    z = torch.randn(6, 20)
    for training in (True, True, False):  # running statistics move alike
        plain.train(training)
        g.train(training)
        torch.testing.assert_close(g(z, LABELS), plain(z))


def test_with_one_class_training_is_that_of_the_plain_generator():
    torch.manual_seed(0)
    plain = dcgan_g(spec=ONE_CLASS)
    torch.manual_seed(0)
    g = ClassNormGenerator(spec=ONE_CLASS, network=dcgan_g)
    labels = torch.zeros(6, dtype=torch.int64)
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (plain, g)]
    for _ in range(3):
        z = torch.randn(6, 20)
        for images, optimizer in zip((plain(z), g(z, labels)), optimizers, strict=True):
            optimizer.zero_grad()
            (images - 0.5).square().sum().backward()
            optimizer.step()
    z = torch.randn(6, 20)
    torch.testing.assert_close(g(z, labels), plain(z), rtol=1e-3, atol=1e-4)


def test_a_class_is_the_plain_generator_with_gain_and_bias_of_that_class():
    torch.manual_seed(0)
    g = ClassNormGenerator(spec=RGB, network=dcgan_g).eval()
    norms = [m for m in g.modules() if isinstance(m, ConditionalBatchNorm)]
    for norm in norms:
        nn.init.normal_(norm.gain.weight)
        nn.init.normal_(norm.bias.weight)
    z = torch.randn(6, 20)
    images = g(z, LABELS)
    for label in range(5):
        plain = dcgan_g(spec=RGB).eval()
        state = {name: tensor for name, tensor in g.network.state_dict().items() if name in plain.state_dict()}
        plain.load_state_dict(state, strict=False)
        for norm, of_class in zip((m for m in plain.modules() if isinstance(m, nn.BatchNorm2d)), norms, strict=True):
            norm.load_state_dict(
                {
                    **of_class.norm.state_dict(),
                    "weight": 1 + of_class.gain.weight[label],
                    "bias": of_class.bias.weight[label],
                }
            )
        rows = label == LABELS
        torch.testing.assert_close(images[rows], plain(z[rows]))


def test_a_norm_that_is_used_twice_stays_one():
    class Twice(nn.Module):
        latent_dim = 4

        def __init__(self, *, spec):
            super().__init__()
            self.first = nn.BatchNorm1d(4)
            self.second = self.first

        def forward(self, z, labels=None):
            return self.second(self.first(z))[:, :2]

    g = ClassNormGenerator(spec=RING, network=Twice)
    assert g.network.first is g.network.second
    assert g(torch.randn(6, 4), LABELS).shape == (6, 2)


def test_no_layer_keeps_the_labels_of_a_pass():
    g = ClassNormGenerator(spec=RGB, network=dcgan_g)
    z = torch.randn(6, 20)
    with pytest.raises(IndexError):
        g(z, LABELS + 5)
    copies = copy.deepcopy(g), g
    for network in copies:
        with pytest.raises(TypeError):  # the network alone lacks the labels
            network.network(z)
        assert network(z, LABELS).shape == (6, 3, 16, 16)


def test_a_generator_stays_what_it_is():
    """Latents, their prior and codes, pictures of the codes, truncation and refusals are those of the enclosed one."""

    class Truncated(DCGANGenerator):
        takes_truncation = True

        def forward(self, z, labels=None, *, truncation=1.0):
            return super().forward(truncation * z)

        def check(self, system):
            raise UserError("no")

    g = ClassNormGenerator(spec=RGB, network=functools.partial(Truncated, latent_dim=20, width=8)).eval()
    z, _ = LatentInputs(Prior.of(g), labels=[1])(0, 3)
    sample = Draw(g, torch.device("cpu"), LatentInputs(Prior.of(g), labels=[1], truncation=0.5))(0, 3).samples
    torch.testing.assert_close(sample, g(z / 2, torch.ones(3, dtype=torch.int64)))
    with pytest.raises(UserError, match="no"):
        g.check(None)

    g = ClassNormGenerator(spec=RGB, network=functools.partial(InfoGANGenerator, network=dcgan_g))
    assert (g.latent_dim, g.noise_dim, g.codes.dim) == (20, 8, 12)
    prior = Prior.of(g, Uniform())
    z = prior.draw(300)
    assert z[:, :8].abs().max() <= 1
    assert torch.equal(z[:, 8:18].sum(1), torch.ones(300))
    assert set(g.traversals(4, prior.draw)) == {"categorical_0", "continuous_0", "continuous_1"}
    assert g(z[:6], LABELS).shape == (6, 3, 16, 16)
    with pytest.raises(AttributeError):
        _ = g.nothing


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_projection_adds_the_inner_product(spectral_norm):
    torch.manual_seed(0)
    d = ProjectedDiscriminator(spec=RGB, network=dcgan_d, spectral_norm=spectral_norm).eval()
    x = torch.randn(6, 3, 16, 16)
    plain = d.network(x)
    out = d(x, LABELS)
    vectors = d.projection.weight.detach()
    added = torch.stack([vectors[label] @ row for label, row in zip(LABELS, plain.features, strict=True)])
    torch.testing.assert_close(out.logits - plain.logits, added, rtol=1e-4, atol=1e-5)
    assert torch.equal(out.features, plain.features)
    largest = torch.linalg.matrix_norm(vectors, 2)
    assert (abs(largest - 1) < 0.01) == spectral_norm
    if not spectral_norm:
        nn.init.zeros_(d.projection.weight)
        assert torch.equal(d(x, LABELS).logits, plain.logits)


def test_each_patch_moves_by_the_projection():
    class Patches(nn.Module):
        def __init__(self, *, spec):
            super().__init__()

        def forward(self, x, labels=None):
            return DiscriminatorOutput(x[:, :1, :4, :4], x.mean(dim=(2, 3)))

    d = ProjectedDiscriminator(spec=RGB, network=Patches)
    x = torch.randn(6, 3, 16, 16)
    added = (d(x, LABELS).logits - x[:, :1, :4, :4]).flatten(1)  # [6, 16]
    expected = (d.projection.weight[LABELS] * x.mean(dim=(2, 3))).sum(1, keepdim=True)
    torch.testing.assert_close(added, expected.expand(6, 16))


def test_the_classifier_is_linear_in_the_features_and_leaves_the_judgement_alone():
    torch.manual_seed(0)
    d = ClassifyingDiscriminator(spec=RGB, network=dcgan_d).eval()
    x = torch.randn(6, 3, 16, 16)
    plain, out = d.network(x), d(x, LABELS)
    assert torch.equal(out.logits, plain.logits)
    assert torch.equal(out.features, plain.features)
    assert out.class_logits.shape == (6, d.num_class_logits) == (6, 5)
    torch.testing.assert_close(out.class_logits, F.linear(plain.features, d.classifier.weight, d.classifier.bias))
    assert torch.equal(d(x, LABELS.flip(0)).class_logits, out.class_logits)  # it guesses without looking


def test_parts_around_parts():
    """Codes and labels at once, whichever encloses the other, and for any width of the features."""
    with torch.device("meta"):
        outer = CodeDiscriminator(spec=RGB, network=functools.partial(ProjectedDiscriminator, network=dcgan_d))
        inner = ProjectedDiscriminator(spec=RGB, network=functools.partial(CodeDiscriminator, network=dcgan_d))
        for d in (outer, inner):
            assert d.conditional
            out = d(torch.zeros(6, 3, 16, 16), LABELS.to("meta"))
            assert out.class_logits.shape == (6, d.codes.dim) == (6, 12)
        assert ProjectedDiscriminator(
            spec=RING, network=functools.partial(MLPDiscriminator, width=24)
        ).projection.weight.shape == (5, 24)


@pytest.mark.parametrize(
    ("make", "network"),
    [(ClassNormGenerator, dcgan_g), (ProjectedDiscriminator, dcgan_d), (ClassifyingDiscriminator, dcgan_d)],
)
def test_what_takes_labels_already_and_data_without_labels_are_refused(make, network):
    with pytest.raises(UserError, match=r"network\.conditional=false"):
        make(spec=RGB, network=functools.partial(network, conditional=True))
    with pytest.raises(UserError, match="has none: choose another data set"):
        make(spec=UNLABELLED, network=network)


def test_networks_without_what_a_part_needs_are_refused():
    with pytest.raises(UserError, match="MLPGenerator has no BatchNorm"):
        ClassNormGenerator(spec=RGB, network=MLPGenerator)
    for make in (ProjectedDiscriminator, ClassifyingDiscriminator):
        for packing in (2, 3):
            with pytest.raises(UserError, match="PackedDiscriminator gives no features"):
                make(spec=RGB, network=functools.partial(PackedDiscriminator, network=dcgan_d, packing=packing))
    with pytest.raises(UserError, match="guesses something else already"):
        ClassifyingDiscriminator(spec=RGB, network=functools.partial(CodeDiscriminator, network=dcgan_d))
