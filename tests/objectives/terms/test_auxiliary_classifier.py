from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from objectives.terms.test_gradient import make_step
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec, DiscriminatorOutput, Term
from adversaria.modalities import Image
from adversaria.nn.networks.resnet import ResNetDiscriminator
from adversaria.objectives.terms import AuxiliaryClassifier

SPEC = DataSpec((3, 16, 16), 4, Image())


def step_with(real_logits, fake_logits, labels):
    step = make_step(nn.Identity(), torch.zeros(len(labels), 3), torch.zeros(len(labels), 3), labels)
    step.real_output = DiscriminatorOutput(torch.zeros(len(labels)), None, real_logits)
    step.fake_output = DiscriminatorOutput(torch.zeros(len(labels)), None, fake_logits)
    return step


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_is_a_term(network):
    term = AuxiliaryClassifier(applies_to=network)
    assert isinstance(term, Term)
    assert term.applies_to == network


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_knowing_nothing_costs_the_logarithm_of_the_number_of_classes(network):
    step = step_with(torch.zeros(3, 4), torch.zeros(3, 4), torch.tensor([0, 1, 3]))
    assert AuxiliaryClassifier(applies_to=network)(step).item() == pytest.approx(math.log(4))


def test_is_the_mean_negative_log_probability_of_the_label_on_reals_for_d_and_on_fakes_for_g():
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, 3])
    step = step_with(torch.randn(3, 4), torch.randn(3, 4), labels)
    for network, output, of in (
        ("discriminator", step.real_output, step.real_labels),
        ("generator", step.fake_output, step.fake_labels),
    ):
        p = output.class_logits.exp() / output.class_logits.exp().sum(1, keepdim=True)
        expected = -sum(math.log(p[k, of[k]]) for k in range(3)) / 3
        assert AuxiliaryClassifier(applies_to=network)(step).item() == pytest.approx(expected, rel=1e-5)


def test_half_precision_logits_are_lifted():
    step = step_with(torch.randn(3, 4).bfloat16(), torch.randn(3, 4), torch.tensor([0, 1, 3]))
    assert AuxiliaryClassifier()(step).dtype == torch.float32


def test_a_discriminator_that_does_not_guess_is_refused():
    term = AuxiliaryClassifier()
    guessing = ResNetDiscriminator(spec=SPEC, width=4, conditional=True, classifier=True)
    term.check(SimpleNamespace(discriminator=guessing))
    for other in (ResNetDiscriminator(spec=SPEC, width=4, conditional=True), nn.Linear(2, 1)):
        with pytest.raises(UserError, match="discriminator=acgan"):
            term.check(SimpleNamespace(discriminator=other))


@pytest.mark.parametrize(("field", "value"), [("weight", -1.0), ("weight", math.nan), ("interval", 0)])
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=rf"regulariser\.auxiliary_classifier_g\.{field}={value}"):
        AuxiliaryClassifier(applies_to="generator", **{field: value})
