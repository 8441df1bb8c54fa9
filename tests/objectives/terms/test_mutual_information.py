from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec, DiscriminatorOutput, Step, Term
from adversaria.modalities import Points
from adversaria.nn.layers import Codes
from adversaria.nn.networks.mlp import MLPDiscriminator, MLPGenerator
from adversaria.nn.prior import Prior
from adversaria.nn.wrappers.infogan import CodeDiscriminator, InfoGANGenerator
from adversaria.nn.wrappers.mgan import MGANGenerator
from adversaria.objectives.terms import MutualInformation

RING = DataSpec((2,), None, Points((-2.0, 2.0)))
mlp_g = functools.partial(MLPGenerator, width=16, latent_dim=8)
mlp_d = functools.partial(MLPDiscriminator, width=16)


def infogan(**keywords):
    g = InfoGANGenerator(spec=RING, network=mlp_g, categorical=(3,), continuous=1)
    d = CodeDiscriminator(spec=RING, network=mlp_d, **{"categorical": (3,), "continuous": 1, **keywords})
    return g, d


def make_step(g, d, z, output):
    return Step(g, d, nn.Identity(), torch.zeros(1, 2), g(z), None, None, z, None, output, Progress(0, 1, 0, 1))


def test_it_is_a_term_of_either_network():
    for network in ("discriminator", "generator"):
        term = MutualInformation(applies_to=network)
        assert isinstance(term, Term)
        assert term.applies_to == network


def test_it_reads_the_codes_behind_the_noise():
    g, d = infogan()
    z = torch.zeros(2, 8)
    z[:, 4:] = torch.tensor([[1.0, 0.0, 0.0, 0.5], [0.0, 0.0, 1.0, -1.0]])
    predicted = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, math.log(2), 1.0]])
    output = DiscriminatorOutput(torch.zeros(2), None, predicted)
    categories = (math.log(3) + math.log(2)) / 2  # probabilities 1/3 and 2/4
    squares = 0.5 * (0.25 + 4) / 2
    for weight in (1.0, 0.1):
        term = MutualInformation(continuous_weight=weight)
        value = term(make_step(g, d, z, output))
        assert value.item() == pytest.approx(categories + weight * squares, rel=1e-6)


def test_both_networks_learn_the_codes_from_it():
    torch.manual_seed(0)
    g, d = infogan(batch_norm=False)
    term = MutualInformation()
    optimizer = torch.optim.Adam([*g.parameters(), *d.parameters()], lr=1e-2)
    values = []
    for _ in range(60):
        z = Prior.of(g).draw(64)
        value = term(make_step(g, d, z, d(g(z))))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[0] == pytest.approx(math.log(3) + 1 / 6, abs=0.1)  # nothing is known
    assert values[-1] < 0.3
    for name, parameter in (*g.named_parameters(), *d.named_parameters()):
        if "network.head" not in name:  # the logit of real or fake
            assert parameter.grad.abs().max() > 0, name


def test_in_half_precision_it_is_computed_in_float32():
    g, d = infogan()
    z = Prior.of(g).draw(16)
    with torch.autocast("cpu", torch.bfloat16):
        value = MutualInformation()(make_step(g, d, z, d(g(z))))
    assert value.dtype == torch.float32


def test_networks_that_do_not_fit_are_refused():
    g, d = infogan()
    term = MutualInformation()
    term.check(SimpleNamespace(generator=g, discriminator=d))
    mgan = MGANGenerator(spec=RING, network=mlp_g, number=3)
    for generator, discriminator, message in (
        (MLPGenerator(spec=RING), d, "need a generator with codes"),
        (g, MLPDiscriminator(spec=RING), "the discriminator reads none"),
        (g, infogan(continuous=2)[1], "continuous=2"),
        (mgan, d, "continuous=0"),
    ):
        with pytest.raises(UserError, match=message):
            term.check(SimpleNamespace(generator=generator, discriminator=discriminator))
    reader = CodeDiscriminator(spec=RING, network=mlp_d, categorical=(3,), continuous=0, hidden=None)
    term.check(SimpleNamespace(generator=mgan, discriminator=reader))
    assert reader.codes == mgan.codes == Codes((3,))


@pytest.mark.parametrize("keywords", [{"weight": -1.0}, {"continuous_weight": -0.1}, {"interval": 0}])
def test_numbers_out_of_range_are_refused(keywords):
    with pytest.raises(UserError, match=next(iter(keywords))):
        MutualInformation(**keywords)


def test_the_reader_is_built_on_features_alone():
    class Bare(nn.Module):
        def __init__(self, *, spec):
            super().__init__()

        def forward(self, x, labels=None):
            return DiscriminatorOutput(x.sum(1))

    with pytest.raises(UserError, match="gives no features"):
        CodeDiscriminator(spec=RING, network=Bare)
    with pytest.raises(UserError, match="leaves no room for noise"):
        InfoGANGenerator(spec=RING, network=mlp_g, categorical=(7,), continuous=1)
