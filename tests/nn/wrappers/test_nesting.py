"""Parts around parts: each keeps what the one within says of itself."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec, DiscriminatorOutput, Step
from adversaria.modalities import Image, Points
from adversaria.nn.inputs import LatentInputs
from adversaria.nn.latents import Uniform
from adversaria.nn.layers import Codes, mixes_samples
from adversaria.nn.network import as_discriminator, as_generator
from adversaria.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.nn.networks.mlp import MLPDiscriminator, MLPGenerator
from adversaria.nn.networks.stylegan2 import StyleGAN2Generator
from adversaria.nn.prior import Prior
from adversaria.nn.wrappers.conditional import ClassifyingDiscriminator, ClassNormGenerator, ProjectedDiscriminator
from adversaria.nn.wrappers.infogan import CodeDiscriminator, InfoGANGenerator
from adversaria.nn.wrappers.mgan import MGANGenerator, MixtureGenerator
from adversaria.nn.wrappers.packing import PackedDiscriminator
from adversaria.objectives.terms import MutualInformation, PathLength
from adversaria.sampling.draw import Draw, traverse
from adversaria.systems.build import build_system

SPEC = DataSpec((3, 16, 16), 5, Image())
CPU = torch.device("cpu")
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
dcgan_g = functools.partial(DCGANGenerator, latent_dim=20, width=4)
dcgan_d = functools.partial(DCGANDiscriminator, width=4)
style_g = functools.partial(
    StyleGAN2Generator, latent_dim=16, style_dim=8, mapping_layers=2, channel_base=128, style_mixing=1.0
)
infogan = functools.partial(InfoGANGenerator, categorical=(4,), continuous=1)
mgan = functools.partial(MGANGenerator, number=3)
GENERATORS = {"infogan": infogan, "mgan": mgan, "class_norm": ClassNormGenerator}


def around(*makes: Any) -> Any:
    """What makes the network of the last of ``makes`` within that of the one before, and so on."""
    inner = makes[-1]
    for make in reversed(makes[:-1]):
        inner = functools.partial(make, network=inner)
    return inner


@pytest.mark.parametrize("outer", GENERATORS)
@pytest.mark.parametrize("inner", GENERATORS)
def test_generators_within_generators(outer: str, inner: str) -> None:
    make = around(GENERATORS[outer], GENERATORS[inner], dcgan_g)
    if outer == inner:
        if outer == "infogan":
            assert make(spec=SPEC).codes == Codes((4, 4), 2)
            return
        with pytest.raises(UserError, match=r"takes labels already|has no linear layer"):
            make(spec=SPEC)
        return
    torch.manual_seed(0)
    g = make(spec=SPEC).eval()
    parts = {outer, inner}
    assert g.conditional is ("class_norm" in parts)
    codes = Codes((*[4] * ("infogan" in parts), *[3] * ("mgan" in parts)), int("infogan" in parts))
    assert g.codes == codes
    assert (g.latent_dim, g.noise_dim) == (20 + 3 * ("mgan" in parts), 20 - 5 * ("infogan" in parts))
    prior = Prior.of(g, Uniform())
    labels = LABELS if g.conditional else None
    draw = Draw(g, CPU, LatentInputs(prior, labels=None if labels is None else [1, 3]))
    assert draw(0, 6).samples.shape == (6, 3, 16, 16)
    pictures = {f"categorical_{k}" for k in range(len(codes.categorical))} | {"continuous_0"}
    pictures = pictures if "infogan" in parts else set()
    if next(part for part in (outer, inner) if part != "class_norm") == "mgan":  # the outer part says what to show
        pictures.add("generators")
    assert set(traverse(g, prior, SPEC, CPU, labels=None if labels is None else [2])) == pictures
    again = make(spec=SPEC).eval()
    again.load_state_dict(g.state_dict())
    z = prior.draw(6)
    assert torch.equal(g(z, labels), again(z, labels))


@pytest.mark.parametrize("makes", [(infogan, mgan), (mgan, infogan)])
def test_codes_within_codes_reach_the_layers_that_are_theirs(makes: Any) -> None:
    """The index chooses the generator, and InfoGAN's codes are numbers of the noise that the generator sees."""
    torch.manual_seed(0)
    g = around(*makes, dcgan_g)(spec=SPEC).eval()
    plain = dcgan_g(spec=SPEC).eval()
    noise, category, brightness = torch.randn(3, 15), torch.eye(4)[[2, 0, 1]], torch.tensor([[0.5], [-1.0], [0.0]])
    branched = next(m for m in g.modules() if type(m).__name__ == "BranchedLinear")
    shared = {k.removeprefix("network.network."): v for k, v in g.state_dict().items()}
    for k in range(3):
        z = torch.cat([noise, category, torch.eye(3)[[k]].expand(3, 3), brightness], 1)
        own = {"project.weight": branched.weight.chunk(3)[k]}
        plain.load_state_dict({name: own.get(name, shared[name]) for name in plain.state_dict()})
        expected = plain(torch.cat([noise, category, brightness], 1))
        torch.testing.assert_close(g(z), expected, rtol=1e-4, atol=1e-5)


def test_one_reader_reads_the_codes_of_both() -> None:
    torch.manual_seed(0)
    g = around(infogan, mgan, ClassNormGenerator, dcgan_g)(spec=SPEC)
    d = CodeDiscriminator(
        spec=SPEC, network=around(ProjectedDiscriminator, dcgan_d), categorical=(4, 3), continuous=1, batch_norm=False
    )
    game: Any = type("Game", (), {"generator": g, "discriminator": d})
    term = MutualInformation()
    term.check(game)
    z = Prior.of(g).draw(6)
    fake = g(z, LABELS)
    output = d(fake, LABELS)
    term(Step(g, d, nn.Identity(), fake, fake, LABELS, LABELS, z, output, output, Progress(0, 1, 0, 1))).backward()
    assert all(p.grad is not None for p in g.parameters())


def test_discriminators_within_discriminators() -> None:
    code = functools.partial(CodeDiscriminator, categorical=(4,), continuous=1)
    x = torch.randn(6, 3, 16, 16)
    d = around(ProjectedDiscriminator, code, dcgan_d)(spec=SPEC)
    assert (d.conditional, d.codes, d.num_class_logits, d.packing) == (True, Codes((4,), 1), None, 1)
    assert d(x, LABELS).class_logits.shape == (6, 5)
    d = around(code, ClassifyingDiscriminator, dcgan_d)(spec=SPEC)  # the outer head speaks
    assert (d.conditional, d.codes, d.num_class_logits) == (True, Codes((4,), 1), None)
    d = around(PackedDiscriminator, functools.partial(PackedDiscriminator, packing=3), dcgan_d)(spec=SPEC)
    assert (d.packing, d(x).logits.shape) == (6, (1,))
    assert mixes_samples(d)
    d = around(PackedDiscriminator, code, dcgan_d)(spec=SPEC)  # a pack has the codes of none of its samples
    assert (d.packing, d.codes) == (2, None)
    for make in (code, ProjectedDiscriminator, ClassifyingDiscriminator):
        with pytest.raises(UserError, match="gives no features"):
            around(make, PackedDiscriminator, dcgan_d)(spec=SPEC)


@pytest.mark.parametrize("makes", [(infogan, style_g), (infogan, infogan, style_g)])
def test_style_within_codes_is_style(makes: Any) -> None:
    torch.manual_seed(0)
    g = around(*makes)(spec=SPEC)
    z = Prior.of(g).draw(4)
    assert g.takes_truncation
    assert g.style is not None
    term = PathLength()
    term.check(type("Game", (), {"generator": g}))
    g.eval()
    assert torch.equal(g.style.synthesis(g.style.mapping(z, None)), g(z))
    g.train()
    step = Step(g, nn.Identity(), nn.Identity(), z, z, None, None, z, None, None, Progress(0, 1, 0, 1))
    term(step).backward()
    assert any(p.grad is not None for name, p in g.named_parameters() if "mapping" in name)
    draw = Draw(g.eval(), CPU, LatentInputs(Prior.of(g), truncation=0.5))
    assert torch.equal(draw.inputs(0, 4)[0], LatentInputs(Prior.of(g))(0, 4)[0])  # psi leaves z alone
    torch.testing.assert_close(draw(0, 4).samples, g(draw.inputs(0, 4)[0], truncation=0.5))


def test_style_mixing_keeps_the_codes_and_draws_the_noise_of_the_prior() -> None:
    """What D is to read off an image is one code, also where two latents make it."""
    g = around(infogan, style_g)(spec=SPEC)
    g.check(type("Game", (), {"prior": Prior.of(g, Uniform())}))
    given = []
    g.network.mapping.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    z = Prior.of(g, Uniform()).draw(50)
    g(z)
    first, second = given
    assert torch.equal(first, z)
    assert torch.equal(first[:, g.noise_dim :], second[:, g.noise_dim :])
    assert not torch.equal(first, second)
    assert second[:, : g.noise_dim].abs().max() <= 1


def test_labels_by_norms_leave_no_halves_to_measure() -> None:
    """The synthesis network of the one within is not told the labels."""

    class Styled(DCGANGenerator):
        @property
        def style(self) -> Any:
            return "halves"

    g = ClassNormGenerator(spec=SPEC, network=functools.partial(Styled, width=4))
    assert g.style is None
    with pytest.raises(UserError, match="ClassNormGenerator has none"):
        PathLength().check(type("Game", (), {"generator": g}))


def test_members_of_a_mixture_have_no_codes_of_their_own() -> None:
    members = {name: around(infogan, dcgan_g)(spec=SPEC) for name in "ab"}
    with pytest.raises(UserError, match="codes of their own"):
        MixtureGenerator(spec=SPEC, generators=members, number=2)


class Plain(nn.Module):
    """A generator of a user's own, which derives from nothing of ours."""

    latent_dim = 6

    def __init__(self, *, spec: DataSpec) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)
        self.checked: list[object] = []

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.layer(z)

    def check(self, system: object) -> None:
        self.checked.append(system)


def test_a_network_of_ones_own_needs_no_base() -> None:
    ring = DataSpec((2,), None, Points((-2.0, 2.0)))
    said = as_generator(Plain(spec=ring))
    assert (said.latent_dim, said.noise_dim, said.conditional, said.codes, said.style) == (6, 6, False, None, None)
    assert not said.takes_truncation
    assert said.traversals(3, torch.randn) == {}
    g = InfoGANGenerator(spec=ring, network=Plain, categorical=(3,), continuous=0)
    assert list(g.state_dict()) == ["network.layer.weight", "network.layer.bias"]
    g.check("system")
    assert g.network.checked == ["system"]
    judge = as_discriminator(nn.Linear(2, 1))
    assert (judge.packing, judge.conditional, judge.codes, judge.num_class_logits) == (1, False, None, None)
    own = as_discriminator(MLPDiscriminator(spec=ring))
    assert as_discriminator(own) is own
    assert as_generator(own_g := MLPGenerator(spec=ring)) is own_g
    assert isinstance(own(torch.zeros(2, 2)), DiscriminatorOutput)


def test_the_chosen_prior_reaches_a_generator_of_ones_own(make_config: Any) -> None:
    ring = DataSpec((2,), None, Points((-2.0, 2.0)))
    config = make_config("model=mlp", "latent=uniform")
    config["model"]["generator"] = {"_target_": f"{Plain.__module__}.Plain"}
    system = build_system(config, ring, trust=[Plain.__module__.partition(".")[0]])
    seen: list[torch.Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    latents, _ = system._draw(500, None)
    assert 0.9 < latents.abs().max() <= 1
    z, _ = system.inputs()(0, 500)
    assert 0.9 < z.abs().max() <= 1
