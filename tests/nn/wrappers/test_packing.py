"""Packed discriminators against the discriminator they enclose."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec, DiscriminatorOutput, Step
from adversaria.modalities import Image, Points
from adversaria.nn.layers import mixes_samples
from adversaria.nn.networks.dcgan import DCGANDiscriminator
from adversaria.nn.networks.mlp import MLPDiscriminator
from adversaria.nn.wrappers.packing import PackedDiscriminator
from adversaria.objectives.terms import DRAGAN, R1, GradientPenalty

RGB = DataSpec((3, 16, 16), 5, Image())
RING = DataSpec((2,), 5, Points((-2.0, 2.0)))
dcgan = functools.partial(DCGANDiscriminator, width=8, norm="none")
mlp = functools.partial(MLPDiscriminator, width=16)


@pytest.mark.parametrize(("network", "spec"), [(dcgan, RGB), (mlp, RGB), (mlp, RING)])
@pytest.mark.parametrize("packing", [1, 2, 3])
def test_a_pack_is_judged_as_one_sample_of_more_channels(network, spec, packing):
    torch.manual_seed(0)
    d = PackedDiscriminator(spec=spec, packing=packing, network=network)
    x = torch.randn(6, *spec.shape)
    out = d(x)
    assert out.logits.shape == (6 // packing,)
    assert len(out.features) == 6 // packing
    for i, pack in enumerate(x.split(packing)):
        alone = d.network(torch.cat(list(pack))[None])  # along the channels
        torch.testing.assert_close(out.logits[i], alone.logits[0], rtol=1e-4, atol=1e-5)
    if len(spec.shape) == 3:
        torch.testing.assert_close(d(x.to(memory_format=torch.channels_last)).logits, out.logits)


def test_reals_and_fakes_are_kept_apart():
    assert mixes_samples(PackedDiscriminator(spec=RING, network=mlp))


class PackSum(nn.Module):
    """w.x of a pack, of gradient w."""

    def __init__(self, *, spec):
        super().__init__()
        self.w = nn.Parameter(torch.arange(1.0, spec.shape[0] + 1))

    def forward(self, x, labels=None):
        return DiscriminatorOutput(x @ self.w)


@pytest.mark.parametrize(
    ("term", "expected"),
    # the gradient of a pack of two points is (1, 2, 3, 4)
    [(R1(), 15.0), (GradientPenalty(), (30**0.5 - 1) ** 2), (DRAGAN(target=2.0), (30**0.5 - 2) ** 2)],
)
def test_gradient_penalties_look_at_the_gradient_of_a_pack(term, expected):
    d = PackedDiscriminator(spec=RING, packing=2, network=PackSum)
    x = torch.randn(6, 2)
    step = Step(d, d, nn.Identity(), x, x + 1, None, None, torch.zeros(6, 1), d(x), d(x), Progress(0, 1, 0, 1))
    value = term(step)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert d.network.w.grad.abs().min() > 0


def test_batches_that_are_no_packs_are_refused():
    d = PackedDiscriminator(spec=RING, packing=4, network=mlp)
    with pytest.raises(UserError, match="packing=4 does not divide a batch of 6"):
        d(torch.zeros(6, 2))
    d.check(SimpleNamespace(optim=SimpleNamespace(generator_batch=None, accumulate=1)))
    d.check(SimpleNamespace(optim=SimpleNamespace(generator_batch=16, accumulate=2)))
    with pytest.raises(UserError, match=r"optim\.generator_batch of 20"):
        d.check(SimpleNamespace(optim=SimpleNamespace(generator_batch=20, accumulate=2)))


def test_a_conditional_discriminator_is_refused():
    with pytest.raises(UserError, match="cannot be packed"):
        PackedDiscriminator(spec=RGB, network=functools.partial(dcgan, conditional=True))
    with pytest.raises(UserError, match=r"model\.discriminator\.packing=0"):
        PackedDiscriminator(spec=RGB, packing=0, network=dcgan)
