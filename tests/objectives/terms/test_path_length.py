from __future__ import annotations

import io
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec, Step, Term
from adversaria.modalities import Image
from adversaria.nn.networks.stylegan2 import StyleGAN2Generator
from adversaria.nn.prior import Prior
from adversaria.objectives.terms import PathLength


class Linear(nn.Module):
    """G(w) = A w, the sum over two layers of images [1, 2, 3] that are linear in w [4]; w is the latent."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.randn(2, 6, 4))

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (z * 1.0)[:, None].expand(-1, 2, -1)

    def synthesis(self, ws: Tensor) -> Tensor:
        return torch.einsum("lpw,nlw->np", self.matrices, ws).view(-1, 1, 2, 3)


def make_step(generator: nn.Module, latents: Tensor, labels: Tensor | None = None) -> Step:
    nothing = torch.zeros(0)
    return Step(
        generator=generator,
        discriminator=nn.Identity(),
        augment=nn.Identity(),
        real=nothing,
        fake=nothing,
        real_labels=None,
        fake_labels=labels,
        latents=latents.requires_grad_(True),
        real_output=None,
        fake_output=None,
        progress=Progress(0, 1, 0, 1),
    )


def closed_form(generator: Linear, n: int) -> Tensor:
    """sqrt of the mean over layers of |A_l^T y|^2, with the noise that the penalty draws."""
    noise = torch.randn(n, 1, 2, 3).view(n, 6) / math.sqrt(6)
    return torch.einsum("lpw,np->nlw", generator.matrices, noise).square().sum(2).mean(1).sqrt()


def test_the_length_under_a_linear_generator():
    torch.manual_seed(0)
    g = Linear()
    step = make_step(g, torch.randn(8, 4))
    torch.manual_seed(1)
    expected = closed_form(g, 4)
    torch.manual_seed(1)
    torch.testing.assert_close(PathLength().lengths(step), expected)
    # E|A^T y|^2 = |A|^2 / pixels
    many = PathLength(batch_shrink=1).lengths(make_step(g, torch.randn(20_000, 4)))
    assert many.square().mean().item() == pytest.approx(g.matrices.square().sum().item() / 2 / 6, rel=0.05)


def test_the_penalty_and_its_running_mean():
    torch.manual_seed(0)
    g = Linear()
    term = PathLength(decay=0.25, batch_shrink=4)
    mean = torch.zeros(())
    for seed in range(3):
        torch.manual_seed(seed)
        lengths = closed_form(g, 2)
        mean = 0.75 * mean.detach() + 0.25 * lengths.mean()
        expected = (lengths - mean).square().mean()
        torch.manual_seed(seed)
        value = term(make_step(g, torch.randn(8, 4, generator=torch.Generator().manual_seed(0))))
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(term.mean, mean.detach())
        for ours, theirs in ((value, expected),):
            (a,), (b,) = (torch.autograd.grad(v, g.matrices) for v in (ours, theirs))
            torch.testing.assert_close(a, b)


def test_is_a_term_of_the_generator_whose_mean_is_saved():
    term = PathLength()
    assert isinstance(term, Term)
    assert (term.applies_to, term.weight, term.interval) == ("generator", 2.0, 4)
    term.mean.fill_(3.0)
    file = io.BytesIO()
    torch.save(term.state_dict(), file)
    file.seek(0)
    other = PathLength()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.mean.item() == 3.0


@pytest.mark.parametrize("conditional", [False, True])
def test_reaches_every_weight_before_the_image_under_autocast(conditional):
    torch.manual_seed(0)
    g = StyleGAN2Generator(
        spec=DataSpec((3, 16, 16), 5, Image()),
        latent_dim=8,
        style_dim=8,
        mapping_layers=2,
        channel_base=128,
        conditional=conditional,
    )
    labels = torch.tensor([0, 1, 2, 3]) if conditional else None
    with torch.autocast("cpu", torch.bfloat16):
        value = PathLength()(make_step(g, Prior.of(g).draw(4), labels))
    assert value.dtype == torch.float32
    value.backward()
    for name, parameter in g.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_one_sample_is_enough():
    assert PathLength(batch_shrink=8).lengths(make_step(Linear(), torch.randn(3, 4))).shape == (1,)


def test_a_generator_without_mapping_and_synthesis_is_refused():
    PathLength().check(SimpleNamespace(generator=Linear()))
    with pytest.raises(UserError, match=r"regulariser\.path_length needs a generator .* Identity has none"):
        PathLength().check(SimpleNamespace(generator=nn.Identity()))


@pytest.mark.parametrize(
    "arguments", [{"weight": -1.0}, {"interval": 0}, {"batch_shrink": 0}, {"decay": 0.0}, {"decay": 1.5}]
)
def test_numbers_out_of_range_are_refused(arguments):
    [name] = arguments
    with pytest.raises(UserError, match=rf"regulariser\.path_length\.{name}="):
        PathLength(**arguments)
