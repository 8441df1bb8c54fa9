"""Paired translation: what is given, what D sees of it, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import config_of
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import Batch, Step
from adversaria.objectives.terms import Reconstruction
from adversaria.training.experiment import Experiment, build_experiment

SMALL = (
    *("model=pix2pix", "data=digits", "data.batch_size=4", "metrics=none"),
    *("model.generator.width=4", "model.generator.depth=1", "model.discriminator.width=4"),
    *("trainer.accelerator=cpu", "trainer.precision=32-true"),
)


def built(*overrides: str) -> Experiment:
    return build_experiment(config_of(*SMALL, *overrides))


def test_networks_are_told_what_is_given_and_take_no_labels() -> None:
    system = built("pairing=inpaint").system
    spec = system.spec
    assert spec.condition is not None
    assert (spec.num_classes, spec.shape, spec.condition.shape) == (None, (1, 16, 16), (2, 16, 16))
    assert system.translates
    assert system.prior.latent_dim == 0


def test_the_condition_of_a_step_is_a_function_of_its_seed() -> None:
    experiment = built("pairing=denoise")
    x = torch.rand(4, 1, 16, 16) * 2 - 1

    def given(seed: int) -> Tensor:
        torch.manual_seed(seed)
        y = experiment.system.beside(x, torch.arange(4))
        assert y is not None
        return y

    assert torch.equal(given(1), given(1))
    assert not torch.equal(given(1), given(2))


def test_evaluation_gives_the_same_by_number_whatever_the_batch() -> None:
    experiment = built("pairing=denoise")
    inputs = experiment.system.inputs(experiment.data, seed=5)
    whole = inputs(0, 200)[1]
    assert whole is not None
    for ends in ((0, 7), (60, 70), (128, 200)):
        part = inputs(*ends)[1]
        assert part is not None
        assert torch.equal(part, whole[slice(*ends)])
    again, other = (experiment.system.inputs(experiment.data, seed=seed)(0, 8)[1] for seed in (5, 6))
    assert again is not None
    assert other is not None
    assert torch.equal(again, whole[:8])
    assert not torch.equal(other, whole[:8])


class _Shift(nn.Module):
    """Moves everything one place to the right."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, dims=3)


def step_of(augment: nn.Module, x: Tensor, y: Tensor) -> Step:
    nothing: Any = None
    return Step(nothing, nothing, augment, x, x, y, y, x[:, :0], None, None, nothing)


def test_what_moves_a_picture_moves_what_was_given_alike() -> None:
    x, y = torch.randn(3, 1, 4, 4), torch.randn(3, 2, 4, 4)
    seen, beside = step_of(_Shift(), x, y).shown(x, y)
    assert beside is not None
    assert torch.equal(seen, x.roll(1, dims=3))
    assert torch.equal(beside, y.roll(1, dims=3))
    labels = torch.arange(3)
    assert step_of(_Shift(), x, labels).shown(x, labels)[1] is labels


def test_both_move_alike_under_diffaugment() -> None:
    system: Any = built("pairing=denoise", "augment=diffaugment", "augment.policy=[translation,cutout]").system
    x = torch.randn(16, 1, 16, 16)
    seen, beside = step_of(system.augment, x, x.clone()).shown(x, x.clone())
    assert beside is not None
    assert torch.equal(seen, beside)
    assert not torch.equal(seen, x)


def test_the_term_is_the_mean_absolute_difference() -> None:
    x, y = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    step = step_of(nn.Identity(), x, y)
    step.fake = y
    assert float(Reconstruction()(step)) == pytest.approx(float((x - y).abs().mean()))


def test_the_ith_fake_answers_the_ith_real(monkeypatch: pytest.MonkeyPatch) -> None:
    system: Any = built("pairing=denoise", "optim.n_critic=2").system
    y = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 16)
    assert torch.equal(system._draw(8, y)[1], y)
    assert torch.equal(system._draw(4, y)[1], y[4:])  # of G's step: those of the last of D's


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("pairing=denoise", "optim.generator_batch=8"), r"optim\.generator_batch=8"),
        (("pairing=denoise", "augment=diffaugment"), "changes colours"),
        (("pairing=denoise", "augment=ada"), "changes colours"),
        ((), "pairing=denoise"),
        (("pairing=inpaint", "model.pairing.side=16"), "leaves nothing known"),
        (("pairing=super_resolution", "model.pairing.factor=3"), "does not divide"),
        (("pairing=denoise", "model.discriminator.conditional=false"), "differ"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_sentence(overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        built(*overrides)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("model=pix2pix", "pairing=denoise", "data=ring8"), "is for images"),
        (("model=dcgan", "pairing=denoise"), "pairing is unknown"),
        (("model=dcgan", "regulariser=reconstruction"), "made from noise"),
        (("model=pix2pix", "pairing=denoise", "generator=dcgan"), "differ"),
        (("model=dcgan", "generator=editing_unet"), "pairing=denoise"),
        (("model=regression", "pairing=denoise", "generator=dcgan"), "takes no conditions"),
    ],
)
def test_models_and_pairings_that_do_not_fit_are_refused(overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build_experiment(config_of(*overrides, "metrics=none", "trainer.accelerator=cpu"))


def test_batches_with_conditions_are_seen_as_they_are_stored() -> None:
    experiment = built("pairing=denoise")
    batch = experiment.data.batch("train", torch.arange(3).numpy())
    assert isinstance(batch, Batch)
    assert batch.samples.dtype == torch.uint8
