"""Mixtures of generators that share all but their first layer, or nothing."""

from __future__ import annotations

import functools

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image, Points
from adversaria.nn.inputs import LatentInputs
from adversaria.nn.networks.dcgan import DCGANGenerator
from adversaria.nn.networks.mlp import MLPGenerator
from adversaria.nn.networks.residual_mlp import ResidualMLPGenerator
from adversaria.nn.networks.sndcgan import SNDCGANGenerator
from adversaria.nn.prior import Prior
from adversaria.nn.wrappers.mgan import MGANGenerator, MixtureGenerator
from adversaria.sampling.draw import traverse

CIFAR = DataSpec((3, 32, 32), 10, Image())
RGB = DataSpec((3, 16, 16), 5, Image())
RING = DataSpec((2,), 5, Points((-2.0, 2.0)))
CPU = torch.device("cpu")
NETWORKS = {
    "dcgan": (functools.partial(DCGANGenerator, latent_dim=6, width=8), RGB),
    "cgan": (functools.partial(DCGANGenerator, latent_dim=6, width=8, conditional=True), RGB),
    "sndcgan": (functools.partial(SNDCGANGenerator, latent_dim=6, width=4), RGB),
    "mlp": (functools.partial(MLPGenerator, latent_dim=6, width=16), RING),
}


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parameter_count_of_the_shared_mixture():
    with torch.device("meta"):
        g = MGANGenerator(spec=CIFAR, network=functools.partial(DCGANGenerator, width=128), number=10)
        one = DCGANGenerator(spec=CIFAR, width=128)
    assert count(g) == count(one) + 9 * 100 * 512 * 4 * 4  # nine further first layers, to 512 maps of 4x4
    assert (g.noise_dim, g.latent_dim) == (100, 110)


@pytest.mark.parametrize("name", NETWORKS)
def test_generator_k_is_the_network_with_the_kth_first_layer(name):
    torch.manual_seed(0)
    make, spec = NETWORKS[name]
    g = MGANGenerator(spec=spec, network=make, number=3).eval()
    labels = torch.tensor([0, 1, 2, 3]) if g.conditional else None
    noise = torch.randn(4, 6)
    alone = make(spec=spec).eval()
    first = next(m for m in alone.modules() if isinstance(m, torch.nn.Linear))
    branched = next(m for m in g.modules() if type(m).__name__ == "BranchedLinear")
    shared = {k: v for k, v in g.network.state_dict().items() if k in alone.state_dict()}
    outputs = []
    for k in range(3):
        own = branched.weight.chunk(3)[k]
        alone.load_state_dict({k: v for k, v in shared.items() if v.shape == alone.state_dict()[k].shape}, strict=False)
        with torch.no_grad():
            first.weight.copy_(own)
            if first.bias is not None:
                first.bias.copy_(branched.bias.chunk(3)[k])
        index = torch.eye(3)[k].expand(4, 3)
        outputs.append(g(torch.cat([noise, index], 1), labels))
        torch.testing.assert_close(outputs[-1], alone(noise, labels), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(outputs[0], outputs[1])


def test_each_first_layer_starts_as_its_architecture_says_and_learns_from_its_own_samples():
    torch.manual_seed(0)
    make, spec = NETWORKS["dcgan"]
    g = MGANGenerator(spec=spec, network=make, number=4)
    branched = g.network.project
    assert branched.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert len({chunk.sum().item() for chunk in branched.weight.chunk(4)}) == 4
    g.eval()
    z = torch.cat([torch.randn(5, 6), torch.eye(4)[[2]].expand(5, 4)], 1)
    g(z).sum().backward()
    trained = [chunk.abs().max().item() > 0 for chunk in branched.weight.grad.chunk(4)]
    assert trained == [False, False, True, False]


def different(number=3):
    generators = {
        "small": MLPGenerator(spec=RGB, latent_dim=4, width=8),
        "large": MLPGenerator(spec=RGB, latent_dim=9, width=32),
        "convolutional": DCGANGenerator(spec=RGB, latent_dim=6, width=8),
    }
    return MixtureGenerator(spec=RGB, generators=generators, number=number)


def test_different_generators_take_what_they_need_of_the_latent():
    torch.manual_seed(0)
    g = different().eval()
    assert (g.noise_dim, g.latent_dim) == (9, 12)
    z = Prior.of(g).draw(40)
    index = z[:, 9:].argmax(1)
    assert set(index.tolist()) == {0, 1, 2}
    x = g(z)
    for k, network in enumerate(g.generators.values()):
        torch.testing.assert_close(x[index == k], network(z[index == k, : network.latent_dim]), rtol=1e-4, atol=1e-5)


def test_the_picture_has_a_generator_in_each_row():
    torch.manual_seed(0)
    g = different().eval()
    z = g.traversals(5, Prior.of(g).draw)["generators"]
    assert z.shape == (3, 5, 12)
    assert torch.equal(z[:1, :, :9].expand(3, -1, -1), z[..., :9])  # the same noise for all
    assert torch.equal(z[..., 9:], torch.eye(3)[:, None].expand(-1, 5, -1))
    rows = traverse(g, Prior.of(g), RGB, CPU, seed=1)["generators"]
    assert rows.shape == (3, 10, 3, 16, 16)
    noise = Prior.of(g).draw(10, torch.Generator().manual_seed(1))[:, :6]
    torch.testing.assert_close(rows[2], g.generators["convolutional"](noise), rtol=1e-4, atol=1e-5)


def test_truncation_leaves_the_index_alone():
    z, _ = LatentInputs(Prior.of(different()), truncation=0.5)(0, 130)
    assert z[:, :9].abs().max() <= 0.5
    assert torch.equal(z[:, 9:].sum(1), torch.ones(130))
    free, _ = LatentInputs(Prior.of(different()))(0, 130)
    assert torch.equal(z[:, 9:], free[:, 9:])


def test_mixtures_that_cannot_be_are_refused():
    with pytest.raises(UserError, match=r"model\.generator\.number=3"):
        different(number=4)
    with pytest.raises(UserError, match="no mixture"):
        MGANGenerator(spec=RING, network=NETWORKS["mlp"][0], number=1)
    with pytest.raises(UserError, match="latent goes into other layers"):
        MGANGenerator(spec=RING, network=ResidualMLPGenerator, number=3)
    mixed = {"a": MLPGenerator(spec=RING), "b": MLPGenerator(spec=RING, conditional=True)}
    with pytest.raises(UserError, match="labels in part only"):
        MixtureGenerator(spec=RING, generators=mixed, number=2)
