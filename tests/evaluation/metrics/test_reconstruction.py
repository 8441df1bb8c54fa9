"""Reconstructions scored in closed form, on real digits, and where there are none."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.types import Batch
from adversaria.data.images.named import Digits
from adversaria.evaluation.metrics import Reconstruction
from adversaria.evaluation.protocol import missing_of

CPU = torch.device("cpu")


class Answers:
    """A `Draw` whose reconstruction of x is ``answer(x)``."""

    encodes = True

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        self.answer, self.asked = answer, 0

    def __call__(self, start: int, stop: int) -> Batch:
        raise AssertionError("nothing is drawn")

    def reconstruct(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return self.answer(x)


def scores_of(data: Digits, answer: Callable[[Tensor], Tensor], **changes: Any) -> dict[str, float]:
    metrics = Reconstruction(**changes)
    metrics.prepare(data, CPU)
    return metrics.evaluate(Answers(answer), CPU)


def test_a_perfect_autoencoder_and_one_that_knows_one_image(digits: Digits) -> None:
    scores = scores_of(digits, lambda x: x)
    assert scores["reconstruction_error"] == 0
    assert scores["reconstruction_class_kept"] > 0.95  # all that the classifier itself knows

    test = digits.batch("test", np.arange(len(digits.split("test"))))
    x, labels = digits.spec.modality.decode(test.samples), test.labels
    assert labels is not None
    scores = scores_of(digits, lambda batch: x[:1].expand_as(batch))
    assert scores["reconstruction_error"] == pytest.approx(float((x - x[:1]).square().mean()), rel=1e-5)
    assert scores["reconstruction_class_kept"] == pytest.approx(float((labels == labels[0]).double().mean()), abs=1e-6)


def test_reconstructions_are_those_that_would_be_stored(digits: Digits) -> None:
    """A third of the distance of two grey values is rounded away; beyond the range is clipped to it."""
    assert scores_of(digits, lambda x: x + 2 / 255 / 3)["reconstruction_error"] == pytest.approx(0, abs=1e-9)
    error = scores_of(digits, lambda x: torch.full_like(x, 5.0), limit=3)["reconstruction_error"]
    x = digits.spec.modality.decode(digits.batch("test", np.arange(3)).samples)
    assert error == pytest.approx(float((x - 1).square().mean()), rel=1e-5)


def test_what_is_not_finite_has_no_score_and_says_why(digits: Digits, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("adversaria").propagate = True
    scores = scores_of(digits, lambda x: torch.where(x > 0.9, torch.nan, x))
    logging.getLogger("adversaria").propagate = False
    assert all(math.isnan(value) for value in scores.values())
    assert missing_of(scores)["reconstruction_error"] == "reconstructions are not finite"
    assert "not finite" in caplog.text


def test_samples_without_an_encoder_have_no_such_score(digits: Digits) -> None:
    metrics = Reconstruction()
    metrics.prepare(digits, CPU)
    scores = metrics.evaluate(lambda start, stop: Batch(torch.zeros(stop - start, 1, 16, 16), None), CPU)
    assert scores == {}
    assert missing_of(scores) == {"reconstruction_error": "what is scored has no encoder"}


def test_data_without_a_classifier_of_its_own_has_the_error_alone(make_digits: Callable[..., Digits]) -> None:
    data = make_digits(name="mine")
    assert set(scores_of(data, lambda x: x)) == {"reconstruction_error"}
    metrics = Reconstruction()
    metrics.prepare(data, CPU)
    assert "extractor" not in metrics.fingerprint()


def test_the_fingerprint_says_of_what(digits: Digits) -> None:
    made = []
    for limit in (None, 50):
        metrics = Reconstruction(limit=limit)
        metrics.prepare(digits, CPU)
        made.append(metrics.fingerprint())
    count = len(digits.split("test"))
    assert [each["reconstructions"] for each in made] == [count, 50]
    assert made[0]["reference_split"] == "test"
    assert made[0]["sample_precision"] == "uint8"
    assert {name for name in made[0] if made[0][name] != made[1][name]} == {"reconstructions"}


@pytest.mark.parametrize("limit", [0, -3])
def test_bad_limits(limit: int) -> None:
    with pytest.raises(UserError, match=f"limit={limit}"):
        Reconstruction(limit=limit)
