"""Latent codes: what is drawn, and how well they are read."""

from __future__ import annotations

import math

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.nn.layers import Codes

CODES = Codes((3, 4), 2)
CPU = torch.device("cpu")


def test_codes_are_one_hot_and_uniform():
    codes = CODES.draw(20_000, torch.Generator().manual_seed(0), CPU)
    assert codes.shape == (20_000, CODES.dim) == (20_000, 9)
    (three, four), continuous = CODES.split(codes)
    for code, size in ((three, 3), (four, 4)):
        assert set(code.unique().tolist()) == {0, 1}
        assert torch.equal(code.sum(1), torch.ones(20_000))
        assert (code.mean(0) - 1 / size).abs().max() < 0.015
    assert (three.T @ four / 20_000 - 1 / 12).abs().max() < 0.01  # independent of each other
    assert continuous.abs().max() <= 1
    assert continuous.var(0).tolist() == pytest.approx([1 / 3, 1 / 3], rel=0.03)


def test_draws_follow_the_generator_and_the_device():
    first, again = (CODES.draw(5, torch.Generator().manual_seed(1), CPU) for _ in range(2))
    assert torch.equal(first, again)
    assert CODES.draw(5, None, torch.device("meta")).device.type == "meta"


def test_a_reader_that_knows_nothing_is_surprised_by_the_entropy():
    codes = CODES.draw(50_000, torch.Generator().manual_seed(0), CPU)
    # ln 3 + ln 4 of the categories, and half the variance 1/3 of each continuous code
    expected = math.log(12) + 2 * 0.5 / 3
    assert CODES.nll(torch.zeros_like(codes), codes).item() == pytest.approx(expected, abs=0.01)
    without = CODES.nll(torch.zeros_like(codes), codes, continuous_weight=0.0)
    assert without.item() == pytest.approx(math.log(12), abs=1e-5)


def test_a_reader_that_knows_all_is_not_surprised():
    codes = CODES.draw(100, torch.Generator().manual_seed(0), CPU)
    perfect = torch.cat([100 * codes[:, :7], codes[:, 7:]], dim=1)
    assert CODES.nll(perfect, codes).item() == pytest.approx(0, abs=1e-6)
    assert CODES.nll(perfect.bfloat16(), codes).dtype == torch.float32


def test_surprise_is_the_likelihood_of_torchs_distributions():
    torch.manual_seed(0)
    codes, predicted = CODES.draw(11, None, CPU), torch.randn(11, 9)
    (three, four), continuous = CODES.split(codes)
    likelihood = torch.distributions.Categorical(logits=predicted[:, :3]).log_prob(three.argmax(1))
    likelihood += torch.distributions.Categorical(logits=predicted[:, 3:7]).log_prob(four.argmax(1))
    normal = torch.distributions.Normal(predicted[:, 7:], 1.0)
    likelihood += (normal.log_prob(continuous) + 0.5 * math.log(2 * math.pi)).sum(1)
    torch.testing.assert_close(CODES.nll(predicted, codes), -likelihood.mean())


@pytest.mark.parametrize(("categorical", "continuous"), [((), 0), ((1,), 2), ((10,), -1)])
def test_no_codes_are_refused(categorical, continuous):
    with pytest.raises(UserError, match="no set of codes"):
        Codes(categorical, continuous)
