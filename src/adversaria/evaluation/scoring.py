"""Scores anything that makes or holds samples against anything that holds reals: the one way behind all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from adversaria.config.blame import told
from adversaria.core.errors import UserError
from adversaria.core.modes import evaluating
from adversaria.core.types import Batch, DataSpec, Draw
from adversaria.data.images.given import images_at
from adversaria.evaluation.fingerprint import fingerprint
from adversaria.evaluation.protocol import Metrics
from adversaria.nn.inputs import LatentInputs
from adversaria.nn.layers.batch_norm import RUNNING
from adversaria.nn.prior import Prior
from adversaria.sampling.draw import Draw as DrawFromNetwork

if TYPE_CHECKING:
    from adversaria.data.module import DataModule
    from adversaria.sampling.sampler import Sampler

#: Fewer samples than this say nothing about a distribution.
LEAST = 16


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        spec: of the samples.
        draw: the samples by number, given what they are compared with.
        network: the one that is drawn from, put into eval mode meanwhile; None for images.
        device: where the metrics work.
        count: how many there are; None: as many as one likes.
        weights, seed: for the fingerprint; None where no network is drawn from.
        batch_norm: for the fingerprint, which statistics BatchNorm uses.
        about: what else to say of them in a report, plain.
    """

    spec: DataSpec
    draw: Callable[[DataModule], Draw]
    network: nn.Module | None
    device: torch.device
    count: int | None = None
    weights: Literal["ema", "raw"] | None = None
    seed: int | None = None
    about: dict[str, Any] = field(default_factory=dict)
    batch_norm: str = RUNNING

    @contextmanager
    def drawing_from(self, data: DataModule) -> Iterator[Draw]:
        """The samples to compare with ``data``; inside the block the network is in eval mode."""
        with nullcontext() if self.network is None else evaluating(self.network):
            yield self.draw(data)


def of_sampler(sampler: Sampler, seed: int = 0) -> Subject:
    """Samples of a trained model; labels, or what is to be edited, come from the reals (see `DrawsInputs.inputs`)."""

    def draw(data: DataModule) -> Draw:
        inputs = sampler.inputs(data, seed=seed)
        return DrawFromNetwork(sampler.network, sampler.device, inputs, sampler.condition, sampler.encoder)

    about = {"generator_updates": sampler.generator_updates, "images_seen": sampler.images_seen}
    return Subject(
        sampler.spec, draw, sampler.network, sampler.device, None, sampler.weights, seed, about, sampler.batch_norm
    )


def of_network(network: nn.Module, spec: DataSpec, device: torch.device, seed: int = 0) -> Subject:
    """Samples of an unconditional generator of your own.

    Args:
        network: ``network(z, None)`` gives samples ``[N, *spec.shape]`` in ``spec.value_range`` of standard normal
            ``z [N, network.latent_dim]``, see `adversaria.nn.network.Generator`.
        spec: of the samples.
        device: of the network.
        seed: of the latents.
    """
    draw = DrawFromNetwork(network, device, LatentInputs(Prior.of(network), seed=seed))
    return Subject(spec, lambda _: draw, network, device, None, "raw", seed)


def of_images(data: DataModule, device: torch.device, *, class_names: Sequence[str] | None = None) -> Subject:
    """Images that are there already: the training split of ``data``, in its order.

    Args:
        data: prepared.
        device: where the metrics work.
        class_names: those of the reals; labels count only if ``data`` has the same.
    """
    split = data.split("train")
    labelled = class_names is not None and data.class_names == list(class_names)

    def draw(start: int, stop: int) -> Batch:
        samples, labels = split.batch(torch.arange(start, stop) % len(split))
        return Batch(samples, labels if labelled else None)

    about = {"images": len(split), "images_content": data.identity("train")["content"]}
    return Subject(data.spec, lambda _: draw, None, device, len(split), about=about)


def score(subject: Subject, data: DataModule, metrics: Metrics) -> tuple[dict[str, float], dict[str, Any]]:
    """The scores by name, and their fingerprint.

    Args:
        subject: from one of the functions above.
        data: what they are compared with, prepared.
        metrics: those of ``data``'s kind; prepared here.

    Raises:
        UserError: samples and reals differ in shape, or are too few.
    """
    check_same_kind(subject, data)
    metrics.prepare(data, subject.device)
    with subject.drawing_from(data) as draw:
        scores = metrics.evaluate(draw, subject.device)
    if subject.weights is None or subject.seed is None:
        return scores, metrics.fingerprint()
    return scores, fingerprint(metrics, weights=subject.weights, seed=subject.seed, batch_norm=subject.batch_norm)


def evaluate(
    fakes: Sampler | nn.Module | str | Path,
    reference: DataModule | str | Path,
    *,
    metrics: Metrics | None = None,
    count: int = 10_000,
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, Any]]:
    """For notebooks and scripts what ``python evaluate.py`` is for the shell.

    Args:
        fakes: what `adversaria.load` gives, an unconditional generator of your own (see `of_network`; on its device),
            or the path of images.
        reference: a data module, or the path of images: a folder, an archive, a .npz or a .npy.
        metrics: None: `FeatureMetrics` with the classifier of the reference's labels, or with Inception where it has
            none.
        count: number of fakes, if ``metrics`` is None; at most as many as there are images.
        seed: of latents and labels.

    Returns:
        The scores by name, and how they were made: only scores with equal fingerprints can be compared.

    Raises:
        UserError: shapes differ, too few images, files that cannot be read, not enough memory, and the like.
    """
    with told({"count": count}):
        return _evaluate(fakes, reference, metrics, count, seed)


def _evaluate(
    fakes: Sampler | nn.Module | str | Path,
    reference: DataModule | str | Path,
    metrics: Metrics | None,
    count: int,
    seed: int,
) -> tuple[dict[str, float], dict[str, Any]]:
    from adversaria.evaluation.metrics import FeatureMetrics
    from adversaria.features import ClassifierExtractor, InceptionExtractor
    from adversaria.sampling.sampler import Sampler

    data = images_at(str(reference), key="reference") if isinstance(reference, str | Path) else reference
    data.prepare()
    if isinstance(fakes, str | Path):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        subject = of_images(images_at(str(fakes), key="images"), device, class_names=data.class_names)
    elif isinstance(fakes, Sampler):
        subject = of_sampler(fakes, seed)
    else:
        subject = of_network(fakes, data.spec, next(fakes.parameters()).device, seed)
    check_same_kind(subject, data)
    if metrics is None:
        extractor = ClassifierExtractor() if data.spec.num_classes else InceptionExtractor()
        metrics = FeatureMetrics(extractor=extractor, count=min(count, subject.count or count))
    return score(subject, data, metrics)


def check_same_kind(subject: Subject, data: DataModule) -> None:
    """Raises UserError unless samples and reals have the same shape, and there are enough samples."""
    if subject.spec.shape != data.spec.shape:
        raise UserError(
            f"the samples have shape {list(subject.spec.shape)} and those of {data.name} {list(data.spec.shape)}; "
            "choose the data set that the samples are meant for, or data.size and data.channels to match"
        )
    if subject.count is not None and subject.count < LEAST:
        raise UserError(f"there are {subject.count} images to score; give at least {LEAST}")
