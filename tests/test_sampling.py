"""Sample i depends on the seed and on i alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adversaria.errors import UserError
from adversaria.sampling import BLOCK, Draw, evaluating

CPU = torch.device("cpu")


class Echo(nn.Module):
    """Returns its latents, with the labels as a further column."""

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(n, 3, generator=generator)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z if labels is None else torch.cat([z, labels[:, None].float()], 1)


@pytest.mark.parametrize("size", [1, 7, BLOCK, 100])
def test_any_batch_size_gives_the_same_samples(size: int) -> None:
    draw = Draw(Echo(), CPU, seed=5, class_weights=[1, 2, 3], truncation=0.9)
    whole = draw(0, 200)
    parts = [draw(start, min(200, start + size)) for start in range(0, 200, size)]
    assert torch.equal(whole.samples, torch.cat([part.samples for part in parts]))
    assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
    other = Draw(Echo(), CPU, seed=6, class_weights=[1, 2, 3], truncation=0.9)
    assert not torch.equal(whole.samples, other(0, 200).samples)


def test_truncation_keeps_the_shape_of_the_distribution_inside() -> None:
    z, _ = Draw(Echo(), CPU, truncation=0.7).latents(0, 6400)
    assert z.abs().max() <= 0.7
    # variance of a standard normal cut at +-0.7: 1 - 2 * 0.7 * pdf(0.7) / (2 cdf(0.7) - 1)
    assert float(z.var()) == pytest.approx(1 - 1.4 * 0.312254 / 0.516073, rel=0.05)


def test_labels_follow_the_weights_or_take_turns() -> None:
    _, labels = Draw(Echo(), CPU, class_weights=[1, 0, 3]).latents(0, 6400)
    assert labels is not None
    assert torch.bincount(labels, minlength=3).tolist() == pytest.approx([1600, 0, 4800], rel=0.1)
    _, turns = Draw(Echo(), CPU, labels=[4, 2]).latents(3, 7)
    assert turns is not None
    assert turns.tolist() == [2, 4, 2, 4]


def test_drawing_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    Draw(Echo(), CPU, class_weights=[1], truncation=0.5)(0, 100)
    assert torch.equal(before, torch.get_rng_state())


def test_modes_come_back_as_they_were() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    network[1].eval()
    with evaluating(network):
        assert not any(m.training for m in network.modules())
    assert [m.training for m in network.modules()] == [True, True, False]


def test_truncation_must_be_above_zero() -> None:
    with pytest.raises(UserError, match="truncation=0"):
        Draw(Echo(), CPU, truncation=0)
