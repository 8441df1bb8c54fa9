"""Scores of classes: whether a conditional model makes the class it is asked for, and whether all are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adversaria.evaluation.metrics.frechet import RunningGaussian, frechet_distance, symmetric_root
from adversaria.evaluation.protocol import Undefined


def class_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of samples whose largest of ``logits [N, K]`` is the class ``labels [N]`` they were asked to be."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def class_kl(fake: Tensor, real: Tensor) -> float:
    """``KL(fake || real)`` of two class histograms, in nats, at least 0; infinite if fakes are of a class that no real
    is of.

    The direction is that of the stacked MNIST benchmark (Srivastava et al. 2017, "VEEGAN", section 4.2): classes that
    the fakes lack leave it finite.

    Args:
        fake: fakes counted by class, ``[K]``.
        real: reals counted by class, ``[K]``.
    """
    p, q = (counts.double() / counts.sum() for counts in (fake, real))
    return float(torch.where(p > 0, p * (p / q).log(), 0.0).sum())


def missing_classes(fake: Tensor, real: Tensor) -> float:
    """How many of the classes that are among the reals no fake is of; arguments as of `class_kl`."""
    return float(((real > 0) & (fake == 0)).sum())


def intra_frechet(
    fake: Tensor, fake_labels: Tensor, real: Tensor, real_labels: Tensor, names: Sequence[str] | None = None
) -> float:
    """The mean over classes of the Fréchet distance between fakes and reals of a class (Miyato & Koyama 2018, "cGANs
    with Projection Discriminator", section 4: intra FID).

    Args:
        fake, real: features ``[N, F]`` and ``[M, F]``.
        fake_labels, real_labels: ``[N]`` and ``[M]``; the classes are those of the reals.
        names: of the classes, for the message.

    Raises:
        Undefined: a class has fewer than two of either, and so no covariance.
    """
    distances = []
    for label in real_labels.unique():  # type: ignore[no-untyped-call]
        fakes, reals = fake[fake_labels == label], real[real_labels == label]
        if min(len(fakes), len(reals)) < 2:
            raise Undefined(
                f"class {names[int(label)] if names else int(label)} has {len(reals)} of {len(real)} reals and "
                f"{len(fakes)} of {len(fake)} fakes, and each class needs 2 of both"
            )
        gaussian = RunningGaussian(real.shape[1])
        gaussian.update(reals)
        distances.append(frechet_distance(fakes, gaussian.mean, symmetric_root(gaussian.covariance)))
    return sum(distances) / len(distances)
