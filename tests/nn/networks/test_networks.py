"""What every architecture promises, whichever it is."""

from __future__ import annotations

import copy
import functools
import io

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec, Step
from adversaria.modalities import Image, Points
from adversaria.nn.layers import ConditionalBatchNorm, SelfAttention2d
from adversaria.nn.network import Discriminator, Generator
from adversaria.nn.networks.biggan import BigGANDiscriminator, BigGANGenerator
from adversaria.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.nn.networks.mlp import MLPDiscriminator, MLPGenerator
from adversaria.nn.networks.r3gan import Block, R3GANDiscriminator, R3GANGenerator
from adversaria.nn.networks.residual_mlp import ResidualMLPDiscriminator, ResidualMLPGenerator
from adversaria.nn.networks.resnet import ResNetDiscriminator, ResNetGenerator
from adversaria.nn.networks.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from adversaria.nn.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from adversaria.nn.prior import Prior
from adversaria.nn.wrappers.conditional import ClassifyingDiscriminator, ClassNormGenerator, ProjectedDiscriminator
from adversaria.nn.wrappers.infogan import CodeDiscriminator, InfoGANGenerator
from adversaria.nn.wrappers.mgan import MGANGenerator, MixtureGenerator
from adversaria.objectives.terms import R1

RGB = DataSpec((3, 16, 16), 5, Image())
GREY = DataSpec((1, 16, 16), 5, Image())
RGB32 = DataSpec((3, 32, 32), 5, Image())
GREY32 = DataSpec((1, 32, 32), 5, Image())
RING = DataSpec((2,), 5, Points((-2.0, 2.0)))
UNLABELLED = DataSpec((3, 16, 16), None, Image())

dcgan = functools.partial(DCGANGenerator, width=8), functools.partial(DCGANDiscriminator, width=8)
dcgan_plain = dcgan[0], functools.partial(DCGANDiscriminator, width=8, norm="none")
dcgan_separable = tuple(functools.partial(make, norm="layer", convolution="separable") for make in dcgan)
dcgan_residual = tuple(functools.partial(make, norm="pixel", residual_blocks=1) for make in dcgan)
sndcgan = SNDCGANGenerator, SNDCGANDiscriminator
stylegan2 = (
    functools.partial(StyleGAN2Generator, latent_dim=16, style_dim=16, mapping_layers=2, channel_max=16),
    functools.partial(StyleGAN2Discriminator, channel_max=16, mapping_layers=2),
)
r3gan = functools.partial(R3GANGenerator, width=16), functools.partial(R3GANDiscriminator, width=16)
mlp = functools.partial(MLPGenerator, width=32), functools.partial(MLPDiscriminator, width=32)
residual_mlp = (
    functools.partial(ResidualMLPGenerator, width=32, depth=2),
    functools.partial(ResidualMLPDiscriminator, width=32, depth=2),
)
biggan = functools.partial(BigGANGenerator, width=4), functools.partial(BigGANDiscriminator, width=4)
biggan_large = (
    functools.partial(BigGANGenerator, width=4, latent_dim=80, shared_dim=8, hierarchical=True, attention=[16]),
    functools.partial(BigGANDiscriminator, width=4, attention=[16], activated_shortcut=True),
)
resnet = functools.partial(ResNetGenerator, width=16), functools.partial(ResNetDiscriminator, width=16)
acgan = (
    functools.partial(ResNetGenerator, width=16, upsampling="nearest"),
    functools.partial(ResNetDiscriminator, width=16, spectral_norm=False, classifier=True, pooling="mean"),
)
sagan = (
    functools.partial(ResNetGenerator, width=16, attention=True, spectral_norm=True),
    functools.partial(ResNetDiscriminator, width=16, attention=True),
)


def different(*, spec, **keywords):
    """A mixture of two generators of other latents and widths."""
    generators = {f"of_{n}": MLPGenerator(spec=spec, latent_dim=n, width=2 * n, **keywords) for n in (8, 16)}
    return MixtureGenerator(spec=spec, generators=generators, number=2)


def enclosing(make, inner, /, **keywords):
    """``make`` around the networks ``inner``, which are told ``conditional``."""

    def build(*, spec, **inner_keywords):
        return make(spec=spec, network=functools.partial(inner, **inner_keywords), **keywords)

    return build


infogan = enclosing(InfoGANGenerator, dcgan[0]), enclosing(CodeDiscriminator, dcgan[1])
mgan = (
    enclosing(MGANGenerator, dcgan[0], number=3),
    enclosing(CodeDiscriminator, dcgan[1], categorical=(3,), continuous=0, hidden=None),
)
mgan_different = different, enclosing(CodeDiscriminator, mlp[1], categorical=(2,), continuous=0, hidden=None)


def giving_labels(make, inner, /):
    """``make`` around networks that take no labels; it takes them whether it is told to or not."""

    def build(*, spec, conditional):
        return make(spec=spec, network=inner)

    return build


projected = giving_labels(ClassNormGenerator, dcgan[0]), giving_labels(ProjectedDiscriminator, dcgan[1])
projected_resnet = giving_labels(ClassNormGenerator, resnet[0]), giving_labels(ProjectedDiscriminator, resnet[1])
classifying = giving_labels(ClassNormGenerator, sndcgan[0]), giving_labels(ClassifyingDiscriminator, sndcgan[1])
projected_mlp = mlp[0], giving_labels(ProjectedDiscriminator, mlp[1])

#: generators that end in a linear map, without tanh
UNBOUNDED = (StyleGAN2Generator, R3GANGenerator)

PAIRS = {
    "biggan": (biggan, RGB32, True),
    "biggan_unconditional": (biggan, GREY32, False),
    "biggan_large": (biggan_large, GREY32, True),
    "biggan_large_unconditional": (biggan_large, RGB32, False),
    "dcgan": (dcgan, RGB, False),
    "dcgan_grey": (dcgan, GREY, False),
    "dcgan_without_batch_norm": (dcgan_plain, RGB, False),
    "dcgan_separable": (dcgan_separable, GREY, False),
    "dcgan_residual": (dcgan_residual, RGB, True),
    "cgan": (dcgan, RGB, True),
    "cgan_grey": (dcgan, GREY, True),
    "sndcgan": (sndcgan, RGB, False),
    "stylegan2": (stylegan2, RGB, False),
    "stylegan2_grey": (stylegan2, GREY, False),
    "stylegan2_conditional": (stylegan2, RGB, True),
    "r3gan": (r3gan, RGB32, False),
    "r3gan_conditional": (r3gan, GREY, True),
    "sngan": (resnet, RGB, False),
    "projection_grey": (resnet, GREY, True),
    "acgan": (acgan, RGB, True),
    "sagan": (sagan, RGB, True),
    "mlp_images": (mlp, RGB, False),
    "mlp_points": (mlp, RING, False),
    "mlp_conditional": (mlp, RING, True),
    "residual_mlp_images": (residual_mlp, RGB, False),
    "residual_mlp_points": (residual_mlp, RING, False),
    "residual_mlp_conditional": (residual_mlp, RGB, True),
    "infogan": (infogan, GREY, False),
    "infogan_conditional": (infogan, RGB, True),
    "projected": (projected, GREY, True),
    "projected_resnet": (projected_resnet, RGB, True),
    "projected_points": (projected_mlp, RING, True),
    "classifying": (classifying, RGB, True),
    "mgan": (mgan, RGB, False),
    "mgan_conditional": (mgan, GREY, True),
    "mgan_different_points": (mgan_different, RING, False),
    "mgan_different_conditional": (mgan_different, RGB, True),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    """Generator, discriminator, spec, and labels of 6 samples or None."""
    torch.manual_seed(0)
    (make_g, make_d), spec, conditional = PAIRS[request.param]
    keywords = {"conditional": True} if conditional else {}
    labels = torch.tensor([0, 1, 2, 3, 4, 0]) if conditional else None
    g, d = make_g(spec=spec, **keywords), make_d(spec=spec, **keywords)
    for module in (*g.modules(), *d.modules()):
        if isinstance(module, SelfAttention2d):  # the identity at first, which would hide its other weights
            nn.init.ones_(module.gamma)
        elif isinstance(module, Block):  # likewise
            nn.init.normal_(module.contract.weight, std=0.1)
        elif isinstance(module, ConditionalBatchNorm):  # the same for every class
            for table in (module.gain, module.bias):
                if isinstance(table, nn.Embedding):
                    nn.init.normal_(table.weight, std=0.1)
    return g, d, spec, labels


def samples(spec):
    return torch.randn(6, *spec.shape).clamp(*spec.value_range)


def test_shapes_ranges_and_protocols(pair):
    g, d, spec, labels = pair
    assert all(isinstance(network, role) for network, role in ((g, Generator), (d, Discriminator)))
    assert g.conditional is d.conditional is (labels is not None)
    x = g(Prior.of(g).draw(6), labels)
    assert x.shape == (6, *spec.shape)
    if len(spec.shape) == 3 and not isinstance(g, UNBOUNDED):
        assert x.abs().max() <= 1
        with torch.no_grad():
            for parameter in g.parameters():
                parameter.mul_(10)
        assert 0.99 < g(Prior.of(g).draw(6), labels).abs().max() <= 1  # the bounds are reached, not passed
    out = d(x, labels)
    assert out.logits.shape == (6,)
    assert out.features.ndim == 2
    assert len(out.features) == 6
    codes = d.codes
    guesses = d.num_class_logits if codes is None else codes.dim
    assert (out.class_logits is None) == (guesses is None)
    if guesses is not None:
        assert out.class_logits.shape == (6, guesses)


def test_the_logits_are_linear_in_the_features(pair):
    _, d, spec, labels = pair
    d.eval()
    out = d(samples(spec), labels)
    inner = getattr(d, "network", d)
    scores = inner.head(out.features)  # [N, 1], or what the label's vector is multiplied with
    logits = scores[:, 0]
    if (projection := getattr(d, "projection", getattr(inner, "projection", None))) is not None:
        logits = logits + (projection(labels) * out.features).sum(1)
    assert scores.shape[1] > 1 or torch.equal(logits, out.logits)


def test_latents_are_standard_normal_and_follow_the_generator(pair):
    g, _, _, _ = pair
    z = Prior.of(g).draw(2_000)
    assert z.shape == (2_000, g.latent_dim)
    assert z.dtype == torch.float32
    noise = z[:, : g.noise_dim]
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    first, again = (Prior.of(g).draw(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert Prior.of(g).draw(3, device=torch.device("meta")).device.type == "meta"


def test_every_parameter_is_trained(pair):
    g, d, _, labels = pair
    for layer in [*g.modules(), *d.modules()]:
        if isinstance(layer, SelfAttention2d):
            torch.nn.init.ones_(layer.gamma)  # at 0, where it starts, the layer passes nothing on
    z = Prior.of(g).draw(6)
    if g.codes is not None:  # each generator of a mixture makes a sample
        z[:, g.noise_dim :] = g.codes.draw(6, torch.Generator().manual_seed(1), z.device)
    out = d(g(z, labels), labels)
    guesses = 0 if out.class_logits is None else out.class_logits.square().sum()
    (out.logits.square().sum() + guesses).backward()
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_labels_change_the_output_of_conditional_networks(pair):
    g, d, spec, labels = pair
    if labels is None:
        with pytest.raises(ValueError, match="was given labels"):
            g(Prior.of(g).draw(6), torch.zeros(6, dtype=torch.int64))
        with pytest.raises(ValueError, match="was given labels"):
            d(samples(spec), torch.zeros(6, dtype=torch.int64))
        return
    g.eval()
    d.eval()
    for network, inputs in ((g, Prior.of(g).draw(6)), (d, samples(spec))):
        outputs = [network(inputs, given) for given in (labels, (labels + 1) % 5)]
        first, second = (out if torch.is_tensor(out) else out.logits for out in outputs)
        if network is g or d.num_class_logits is None:  # else it guesses labels and must not look at them
            assert all((a != b).any() for a, b in zip(first, second, strict=True))
        with pytest.raises(ValueError, match="given no labels"):
            network(inputs, None)


def test_state_dicts_load_with_weights_only_and_give_equal_outputs(pair):
    g, d, spec, labels = pair
    d(g(Prior.of(g).draw(6), labels), labels)  # running statistics and singular vectors move
    for network, inputs in ((g, Prior.of(g).draw(6)), (d, samples(spec))):
        clone = copy.deepcopy(network)
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        with torch.no_grad():
            for parameter in clone.parameters():
                parameter.add_(1.0)
        file.seek(0)
        clone.load_state_dict(torch.load(file, weights_only=True))
        outputs = [net.eval()(inputs, labels) for net in (network, clone)]
        first, second = (out if torch.is_tensor(out) else out.logits for out in outputs)
        assert torch.equal(first, second)


def test_deep_copies_are_equal_and_independent(pair):
    g, d, spec, labels = pair
    for network, inputs in ((g, Prior.of(g).draw(6)), (d, samples(spec))):
        clone = copy.deepcopy(network)
        for a, b in zip(network.state_dict().values(), clone.state_dict().values(), strict=True):
            assert torch.equal(a, b)
            assert a.data_ptr() != b.data_ptr()
        outputs = []
        for net in (network, clone):
            torch.manual_seed(1)  # of noise within the network
            outputs.append(net(inputs, labels))
        first, second = (out if torch.is_tensor(out) else out.logits for out in outputs)
        assert torch.equal(first, second)


def test_channels_last_and_autocast(pair):
    g, d, spec, labels = pair
    z = Prior.of(g).draw(6)
    g.eval()
    d.eval()
    expected = g(z, labels)
    expected_logits = d(expected, labels).logits
    g.to(memory_format=torch.channels_last)
    d.to(memory_format=torch.channels_last)
    x = g(z, labels)
    torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-5)
    if len(spec.shape) == 3:
        x = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(d(x, labels).logits, expected_logits, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        x = g(z, labels)
        logits = d(x, labels).logits
        logits.float().sum().backward()
    assert (x.float() - expected).norm() < 0.05 * expected.norm()  # bfloat16 keeps 8 bits in each layer
    assert logits.isfinite().all()
    assert all(p.grad.dtype == torch.float32 for p in g.parameters())


def test_r1_reaches_the_weights_of_the_discriminator(pair):
    g, d, spec, labels = pair
    out = d(samples(spec), labels)
    step = Step(
        g,
        d,
        torch.nn.Identity(),
        samples(spec),
        samples(spec),
        labels,
        labels,
        torch.zeros(6),
        out,
        out,
        Progress(0, 1, 0, 1),
    )
    with torch.autocast("cpu", torch.bfloat16):
        R1()(step).backward()
    weights = [p.grad for p in d.parameters() if p.ndim > 1]
    assert any(grad is not None and grad.abs().max() > 0 for grad in weights)
    assert all(grad is None or grad.isfinite().all() for grad in weights)


@pytest.mark.parametrize("make", [*dcgan, *r3gan, *resnet, *mlp, *residual_mlp, *stylegan2])
def test_conditional_networks_refuse_unlabelled_data(make):
    with pytest.raises(UserError, match="conditional=false"):
        make(spec=UNLABELLED, conditional=True)


@pytest.mark.parametrize("make", [*dcgan, *r3gan, *sndcgan, *resnet])
@pytest.mark.parametrize("shape", [(3, 20, 20), (3, 16, 32), (1, 8, 8), (3, 512, 512)])
def test_sizes_that_cannot_be_made_are_refused(make, shape):
    with pytest.raises(UserError, match=r"data\.size=\S+ is not a size"):
        make(spec=DataSpec(shape, None, Image()))


@pytest.mark.parametrize("make", [*dcgan, *r3gan, *sndcgan, *resnet])
def test_image_networks_refuse_points(make):
    with pytest.raises(UserError, match="model=mlp"):
        make(spec=RING)


@pytest.mark.parametrize("make", [dcgan[0], sndcgan[0], resnet[0], mlp[0], residual_mlp[0]])
def test_generators_refuse_images_outside_the_range_of_tanh(make):
    with pytest.raises(UserError, match="value range"):
        make(spec=DataSpec((3, 16, 16), None, Image((0.0, 1.0))))


@pytest.mark.parametrize(
    "make", [DCGANGenerator, SNDCGANGenerator, ResNetGenerator, MLPGenerator, ResidualMLPGenerator]
)
def test_sizes_below_one_are_refused(make):
    with pytest.raises(UserError, match=r"model\.generator\.latent_dim=0"):
        make(spec=RGB, latent_dim=0)


@pytest.mark.parametrize("make", [DCGANDiscriminator, ResNetDiscriminator, MLPDiscriminator, ResidualMLPDiscriminator])
def test_widths_below_one_are_refused(make):
    with pytest.raises(UserError, match=r"model\.discriminator\.width=0"):
        make(spec=RGB, width=0)
