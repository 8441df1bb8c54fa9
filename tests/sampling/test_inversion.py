"""Latents of pictures: found where they are known, chosen by the formulas where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adversaria
from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.modalities import Image
from adversaria.nn.layers import Codes
from adversaria.nn.network import Generator, Style
from adversaria.nn.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from adversaria.nn.prior import Prior
from adversaria.runs.checkpoints import read_checkpoint
from adversaria.sampling.inversion import Likeness, Settings, _Search, decibels, invert
from adversaria.sampling.latents import Latents, Space
from adversaria.sampling.restore import restore_discriminator
from adversaria.sampling.sampler import Sampler

STORED = Path(__file__).parents[1] / "stored"


class Linear(Generator):
    """``tanh``-free: a picture of 4x4 is a matrix times the noise, plus one of its class; codes say its sign."""

    def __init__(self, classes: int = 0, codes: Codes | None = None) -> None:
        super().__init__()
        self.codes, self.conditional = codes, classes > 0
        self.latent_dim = 3 + (0 if codes is None else codes.dim)
        self.matrix = nn.Parameter(0.15 * torch.randn(3, 16))
        self.of_class = nn.Parameter(0.3 * torch.randn(max(1, classes), 16))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = z[:, :3] @ self.matrix + (0 if labels is None else self.of_class[labels])
        if self.codes is not None:
            x = x + 0.3 * z[:, 3:4] - 0.3 * z[:, 4:5]
        return x.view(-1, 1, 4, 4)


class Styled(Generator):
    """A style-based one: two layers, each of which takes the style."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim = 4
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 16, bias=False)

    @property
    def style(self) -> Style:
        return Style(
            lambda z, labels=None: self.first(z)[:, None].expand(-1, 2, -1),
            lambda ws: 0.2 * self.second(ws.mean(dim=1)).view(-1, 1, 4, 4),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.style.synthesis(self.style.mapping(z, labels))


def sampler_of(network: nn.Module, shape: tuple[int, ...] = (1, 4, 4), classes: int | None = None) -> Sampler:
    """A sampler with a network that no checkpoint holds."""
    sampler = Sampler.__new__(Sampler)
    sampler.network = network.eval().requires_grad_(False)
    sampler.prior, sampler.spec = Prior.of(network), DataSpec(shape, classes, Image())
    sampler.conditional, sampler.pairing, sampler.device = classes is not None, None, torch.device("cpu")
    sampler.encoder = None
    return sampler


QUICK = {"starts": 64, "keep": 2, "steps": 200}


def test_samples_are_found_again_with_their_latents() -> None:
    sampler = sampler_of(Linear())
    z = torch.randn(20, 3)
    found = invert(sampler, sampler.sample(20, given=z), settings=Settings(**QUICK))
    assert float(decibels(found.errors).min()) > 45
    torch.testing.assert_close(found.latents.values, z, atol=0.05, rtol=0)
    torch.testing.assert_close(found.lengths, z.square().mean(1).sqrt(), rtol=0.1, atol=0.05)


def test_the_weight_of_the_prior_gives_the_solution_of_ridge_regression() -> None:
    sampler = sampler_of(Linear())
    targets = 0.4 * torch.randn(8, 1, 4, 4)
    settings = Settings(**QUICK, prior=0.05)
    search = _Search(sampler, None, settings)
    found = search(targets, None)
    matrix = (sampler.network.matrix.T * search.deviation).double()  # [16, 3], of u
    rest = (targets.flatten(1) - search.mean @ sampler.network.matrix).double()
    u = torch.linalg.solve(matrix.T @ matrix / 16 + 0.05 / 3 * torch.eye(3), matrix.T @ rest.T / 16).T
    expected = u * search.deviation + search.mean
    torch.testing.assert_close(found.latents.values.double(), expected, atol=5e-3, rtol=0)
    free = invert(sampler, targets, settings=Settings(**QUICK))
    assert bool((found.lengths < free.lengths).all())
    assert bool((found.errors > free.errors).all())


@pytest.mark.parametrize("known", [True, False])
def test_classes_that_are_not_known_are_tried(known: bool) -> None:
    sampler = sampler_of(Linear(classes=3), classes=3)
    labels = torch.tensor([2, 0, 1, 1, 0, 2])
    z = 0.3 * torch.randn(6, 3)
    targets = sampler.network(z, labels)
    found = invert(sampler, targets, labels if known else None, settings=Settings(**QUICK))
    assert found.latents.labels is not None
    assert found.latents.labels.tolist() == labels.tolist()
    assert float(decibels(found.errors).min()) > 40


def test_codes_stay_codes() -> None:
    sampler = sampler_of(Linear(codes=Codes((2,))))
    z = torch.cat([0.3 * torch.randn(6, 3), torch.eye(2).repeat(3, 1)], dim=1)
    found = invert(sampler, sampler.network(z), settings=Settings(**QUICK))
    assert torch.equal(found.latents.values[:, 3:], z[:, 3:])


def test_a_style_based_generator_is_inverted_in_w() -> None:
    sampler = sampler_of(Styled())
    targets = sampler.sample(5, seed=3)
    for space, dim in ((None, 3), ("w", 3), ("z", 4)):
        found = invert(sampler, targets, settings=Settings(**QUICK, space=space))
        assert found.latents.space == (space or "w")
        assert found.latents.values.shape == (5, dim)
        again = sampler.sample(5, given=found.latents)
        stored = sampler.spec.modality.encode(again)
        errors = (sampler.spec.modality.decode(stored) - targets).square().flatten(1).mean(1)
        torch.testing.assert_close(errors, found.errors)
        assert float(decibels(found.errors).min()) > 40


def test_what_is_found_depends_on_the_picture_and_the_seed_alone() -> None:
    sampler = sampler_of(Linear())
    targets = 0.4 * torch.randn(9, 1, 4, 4)
    whole = invert(sampler, targets, settings=Settings(**QUICK))
    part = invert(sampler, targets[4:6], settings=Settings(**QUICK, batch_size=2))
    torch.testing.assert_close(whole.latents.values[4:6], part.latents.values, atol=1e-4, rtol=0)
    assert invert(sampler, targets, settings=Settings(**QUICK, seed=1)).latents.values.ne(whole.latents.values).any()


class Judge(nn.Module):
    """Features are the rows' means, and beside them what a layer says of the batch."""

    def __init__(self, mixes: bool = False) -> None:
        super().__init__()
        self.mixes_samples = mixes

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        features = x.mean(dim=3).flatten(1)
        if self.mixes_samples:
            features = torch.cat([features, features.std(dim=0, correction=0).expand(len(x), -1)], dim=1)
        return DiscriminatorOutput(features.sum(1), features)


def test_likeness_is_that_of_pixels_and_features() -> None:
    sampler = sampler_of(Linear())
    space = Space(sampler)
    likeness = Likeness(sampler, Judge(), 0.5, space)
    a, b = torch.rand(2, 6, 1, 4, 4) - 0.5
    size = space.samples(space.drawn(64, seed=0, labels=None), None).mean(dim=3).flatten(1).square().sum(1).mean()
    features = (a - b).mean(dim=3).flatten(1).square().sum(1)
    expected = (a - b).square().flatten(1).mean(1) + 0.5 * features / size
    found = (likeness(a, None) - likeness(b, None)).square().sum(1)
    torch.testing.assert_close(found, expected)
    assert not Likeness(sampler, None, 0.5, space).sees_features
    assert not Likeness(sampler, Judge(), 0.0, space).sees_features


def test_a_discriminator_that_looks_at_the_batch_sees_one_sample_at_a_time() -> None:
    sampler = sampler_of(Linear())
    likeness = Likeness(sampler, Judge(mixes=True), 0.5, Space(sampler))
    x = torch.rand(6, 1, 4, 4)
    torch.testing.assert_close(likeness(x, None)[2:3], likeness(x[2:3], None))


@pytest.mark.parametrize("name", ["dcgan", "cgan", "sngan"])
def test_the_discriminator_of_a_checkpoint_is_the_trained_one(name: str) -> None:
    from adversaria.systems.build import build_system

    content = read_checkpoint(STORED / name)
    sampler = adversaria.load(STORED / name)
    discriminator = restore_discriminator(content, sampler.spec, [])
    assert discriminator is not None
    system: Any = build_system(content["config"], sampler.spec)
    system.load_state_dict(content["state_dict"])
    x, labels = sampler.sample(4, seed=1), torch.arange(4) if sampler.conditional else None
    given, expected = discriminator.eval()(x, labels), system.discriminator.eval()(x, labels)
    assert torch.equal(given.logits, expected.logits)


def test_a_discriminator_that_asks_for_more_than_the_file_holds_is_refused() -> None:
    content, spec = read_checkpoint(STORED / "dcgan"), adversaria.load(STORED / "dcgan").spec
    content["config"]["model"]["discriminator"]["width"] = 2**19
    with pytest.raises(UserError, match="do not fit"):
        restore_discriminator(content, spec, [])
    content["config"]["model"]["discriminator"] = {"_target_": "subprocess.Popen", "args": ["touch", "x"]}
    with pytest.raises(UserError, match="not a network that a config may name"):
        restore_discriminator(content, spec, [])


def test_stylegan2_with_its_discriminator() -> None:
    spec = DataSpec((1, 16, 16), None, Image())
    small = {"style_dim": 8, "channel_max": 8}
    generator = StyleGAN2Generator(spec=spec, latent_dim=8, mapping_layers=2, **small)
    sampler = sampler_of(generator, (1, 16, 16))
    discriminator = StyleGAN2Discriminator(spec=spec, channel_max=8)
    settings = Settings(starts=64, keep=2, steps=40, features=0.1)
    targets = sampler.sample(3, seed=2)
    found = invert(sampler, targets, discriminator=discriminator, settings=settings)
    begun = invert(sampler, targets, discriminator=discriminator, settings=Settings(starts=64, keep=2, steps=0))
    assert bool((found.errors < 0.5 * begun.errors).all())
    assert found.latents.space == "w"


def test_what_cannot_be_inverted_is_refused() -> None:
    sampler = sampler_of(Linear())
    with pytest.raises(UserError, match="labels are for conditional models"):
        invert(sampler, torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(UserError, match="space=w is for style-based generators"):
        invert(sampler, torch.zeros(1, 1, 4, 4), settings=Settings(space="w"))
    with pytest.raises(UserError, match=r"truncation=0\.5 is about latents that are drawn"):
        sampler.sample(1, given=Latents(torch.zeros(1, 3), "z"), truncation=0.5)
