"""What every architecture promises, whichever it is."""

from __future__ import annotations

import copy
import functools
import io

import pytest
import torch

from adversaria.errors import UserError
from adversaria.models.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.models.mlp import MLPDiscriminator, MLPGenerator
from adversaria.models.residual_mlp import ResidualMLPDiscriminator, ResidualMLPGenerator
from adversaria.models.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from adversaria.penalties import R1
from adversaria.types import DataSpec, Discriminator, Generator, Step

RGB = DataSpec((3, 16, 16), 5, (-1.0, 1.0), "image")
GREY = DataSpec((1, 16, 16), 5, (-1.0, 1.0), "image")
RING = DataSpec((2,), 5, (-2.0, 2.0), "points")
UNLABELLED = DataSpec((3, 16, 16), None, (-1.0, 1.0), "image")

dcgan = functools.partial(DCGANGenerator, width=8), functools.partial(DCGANDiscriminator, width=8)
dcgan_plain = dcgan[0], functools.partial(DCGANDiscriminator, width=8, batch_norm=False)
sndcgan = SNDCGANGenerator, SNDCGANDiscriminator
mlp = functools.partial(MLPGenerator, width=32), functools.partial(MLPDiscriminator, width=32)
residual_mlp = (
    functools.partial(ResidualMLPGenerator, width=32, depth=2),
    functools.partial(ResidualMLPDiscriminator, width=32, depth=2),
)

PAIRS = {
    "dcgan": (dcgan, RGB, False),
    "dcgan_grey": (dcgan, GREY, False),
    "dcgan_without_batch_norm": (dcgan_plain, RGB, False),
    "cgan": (dcgan, RGB, True),
    "cgan_grey": (dcgan, GREY, True),
    "sndcgan": (sndcgan, RGB, False),
    "mlp_images": (mlp, RGB, False),
    "mlp_points": (mlp, RING, False),
    "mlp_conditional": (mlp, RING, True),
    "residual_mlp_images": (residual_mlp, RGB, False),
    "residual_mlp_points": (residual_mlp, RING, False),
    "residual_mlp_conditional": (residual_mlp, RGB, True),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    """Generator, discriminator, spec, and labels of 6 samples or None."""
    torch.manual_seed(0)
    (make_g, make_d), spec, conditional = PAIRS[request.param]
    keywords = {"conditional": True} if conditional else {}
    labels = torch.tensor([0, 1, 2, 3, 4, 0]) if conditional else None
    return make_g(spec=spec, **keywords), make_d(spec=spec, **keywords), spec, labels


def samples(spec):
    return torch.randn(6, *spec.shape).clamp(*spec.value_range)


def test_shapes_ranges_and_protocols(pair):
    g, d, spec, labels = pair
    assert isinstance(g, Generator)
    assert isinstance(d, Discriminator)
    assert g.conditional is d.conditional is (labels is not None)
    x = g(g.sample_latent(6), labels)
    assert x.shape == (6, *spec.shape)
    if spec.modality == "image":
        assert x.abs().max() <= 1
        with torch.no_grad():
            for parameter in g.parameters():
                parameter.mul_(10)
        assert 0.99 < g(g.sample_latent(6), labels).abs().max() <= 1  # the bounds are reached, not passed
    out = d(x, labels)
    assert out.logits.shape == (6,)
    assert out.features.ndim == 2
    assert len(out.features) == 6
    assert out.class_logits is None


def test_the_logits_are_linear_in_the_features(pair):
    _, d, spec, labels = pair
    d.eval()
    out = d(samples(spec), labels)
    assert torch.equal(d.head(out.features).flatten(), out.logits)


def test_latents_are_standard_normal_and_follow_the_generator(pair):
    g, _, _, _ = pair
    z = g.sample_latent(2_000)
    assert z.shape == (2_000, g.latent_dim)
    assert z.dtype == torch.float32
    assert z.mean().item() == pytest.approx(0, abs=0.01)
    assert z.std().item() == pytest.approx(1, abs=0.01)
    first, again = (g.sample_latent(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert g.to("meta").sample_latent(3).device.type == "meta"


def test_every_parameter_is_trained(pair):
    g, d, _, labels = pair
    d(g(g.sample_latent(6), labels), labels).logits.square().sum().backward()
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_labels_change_the_output_of_conditional_networks(pair):
    g, d, spec, labels = pair
    if labels is None:
        with pytest.raises(ValueError, match="was given labels"):
            g(g.sample_latent(6), torch.zeros(6, dtype=torch.int64))
        with pytest.raises(ValueError, match="was given labels"):
            d(samples(spec), torch.zeros(6, dtype=torch.int64))
        return
    g.eval()
    d.eval()
    for network, inputs in ((g, g.sample_latent(6)), (d, samples(spec))):
        outputs = [network(inputs, given) for given in (labels, (labels + 1) % 5)]
        first, second = (out if torch.is_tensor(out) else out.logits for out in outputs)
        assert all((a != b).any() for a, b in zip(first, second, strict=True))
        with pytest.raises(ValueError, match="given no labels"):
            network(inputs, None)


def test_state_dicts_load_with_weights_only_and_give_equal_outputs(pair):
    g, d, spec, labels = pair
    d(g(g.sample_latent(6), labels), labels)  # running statistics and singular vectors move
    for network, inputs in ((g, g.sample_latent(6)), (d, samples(spec))):
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
    for network, inputs in ((g, g.sample_latent(6)), (d, samples(spec))):
        clone = copy.deepcopy(network)
        for a, b in zip(network.state_dict().values(), clone.state_dict().values(), strict=True):
            assert torch.equal(a, b)
            assert a.data_ptr() != b.data_ptr()
        outputs = [net(inputs, labels) for net in (network, clone)]
        first, second = (out if torch.is_tensor(out) else out.logits for out in outputs)
        assert torch.equal(first, second)


def test_channels_last_and_autocast(pair):
    g, d, spec, labels = pair
    z = g.sample_latent(6)
    g.eval()
    d.eval()
    expected = g(z, labels)
    expected_logits = d(expected, labels).logits
    g.to(memory_format=torch.channels_last)
    d.to(memory_format=torch.channels_last)
    x = g(z, labels)
    torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-5)
    if spec.modality == "image":
        x = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(d(x, labels).logits, expected_logits, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        x = g(z, labels)
        logits = d(x, labels).logits
        logits.float().sum().backward()
    torch.testing.assert_close(x.float(), expected, rtol=0.1, atol=0.05)
    assert logits.isfinite().all()
    assert all(p.grad.dtype == torch.float32 for p in g.parameters())


def test_r1_reaches_the_weights_of_the_discriminator(pair):
    g, d, spec, labels = pair
    out = d(samples(spec), labels)
    step = Step(g, d, torch.nn.Identity(), samples(spec), samples(spec), labels, labels, torch.zeros(6), out, out, 0)
    with torch.autocast("cpu", torch.bfloat16):
        R1()(step).backward()
    weights = [p.grad for p in d.parameters() if p.ndim > 1]
    assert any(grad is not None and grad.abs().max() > 0 for grad in weights)
    assert all(grad is None or grad.isfinite().all() for grad in weights)


@pytest.mark.parametrize("make", [*dcgan, *mlp, *residual_mlp])
def test_conditional_networks_refuse_unlabelled_data(make):
    with pytest.raises(UserError, match="conditional=false"):
        make(spec=UNLABELLED, conditional=True)


@pytest.mark.parametrize("make", [*dcgan, *sndcgan])
@pytest.mark.parametrize("shape", [(3, 20, 20), (3, 16, 32), (1, 8, 8), (3, 512, 512)])
def test_sizes_that_cannot_be_made_are_refused(make, shape):
    with pytest.raises(UserError, match=r"data\.size=\S+ is not a size"):
        make(spec=DataSpec(shape, None, (-1.0, 1.0), "image"))


@pytest.mark.parametrize("make", [*dcgan, *sndcgan])
def test_image_networks_refuse_points(make):
    with pytest.raises(UserError, match="model=mlp"):
        make(spec=RING)


@pytest.mark.parametrize("make", [dcgan[0], sndcgan[0], mlp[0], residual_mlp[0]])
def test_generators_refuse_images_outside_the_range_of_tanh(make):
    with pytest.raises(UserError, match="value range"):
        make(spec=DataSpec((3, 16, 16), None, (0.0, 1.0), "image"))


@pytest.mark.parametrize("make", [DCGANGenerator, SNDCGANGenerator, MLPGenerator, ResidualMLPGenerator])
def test_sizes_below_one_are_refused(make):
    with pytest.raises(UserError, match=r"model\.generator\.latent_dim=0"):
        make(spec=RGB, latent_dim=0)


@pytest.mark.parametrize("make", [DCGANDiscriminator, MLPDiscriminator, ResidualMLPDiscriminator])
def test_widths_below_one_are_refused(make):
    with pytest.raises(UserError, match=r"model\.discriminator\.width=0"):
        make(spec=RGB, width=0)
