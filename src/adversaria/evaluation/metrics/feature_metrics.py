"""All scores of features, from one pass of the extractor over the fakes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.files import cache_folder
from adversaria.core.ranges import Count
from adversaria.core.ranks import from_rank_zero, is_rank_zero
from adversaria.core.types import BLOCK, Draw
from adversaria.evaluation.metrics.classes import class_accuracy, class_kl, intra_frechet, missing_classes
from adversaria.evaluation.metrics.frechet import frechet_distance
from adversaria.evaluation.metrics.inception_score import inception_score
from adversaria.evaluation.metrics.kernel import kernel_distance
from adversaria.evaluation.metrics.neighbours import neighbour_scores
from adversaria.evaluation.metrics.reference import Reference, reference_statistics
from adversaria.evaluation.protocol import Scores, Undefined
from adversaria.features.extraction import Embedded, embed_fakes, make_ready, untouched_rng
from adversaria.features.extractor import ClassifiesData, Extractor
from adversaria.features.fidelity import InceptionExtractor

if TYPE_CHECKING:
    from adversaria.data.module import DataModule, SplitName

log = logging.getLogger(__name__)

#: Names of scores, and what computes as many values.
Group = tuple[tuple[str, ...], Callable[[], Sequence[float]]]


class FeatureMetrics:
    """Compares features of fakes with those of the data.

    - ``fid``, ``kid``, ``is``: Fréchet distance, kernel distance (mean over subsets), Inception Score (mean over
      parts; where the extractor has classes), the last two with their standard deviations ``_std``;
    - ``precision``, ``recall``, ``density``, ``coverage``: see `NeighbourScores`;
    - ``intra_fid`` of conditional models: the mean over classes of the Fréchet distance within a class;
    - where the extractor knows the data's own classes: ``class_kl`` and ``missing_classes`` of the histogram of the
      classes it names, and ``class_accuracy`` of conditional models.

    The number of fakes belongs to a score's name (``fid10k``): most are biased by it. Scores of another extractor than
    Inception carry its name in front (``classifier_fid10k``), so that nobody takes them for published ones. All are
    against the first of ``references``; against each further one there is the Fréchet distance (``fid10k_test``).

    Args:
        extractor: the network, see `adversaria.features.extractor.Extractor`.
        count: number of fakes.
        references: the splits that fakes are compared with; those after the first are left out where data lacks them.
        batch_size: of the extractor, a multiple of 64.
        kid_subsets: how many pairs of subsets KID averages over.
        kid_subset_size: of each; smaller where there are fewer samples.
        is_splits: how many parts IS averages over.
        precision_k: neighbours within a ball for precision and recall.
        density_k: neighbours within a ball for density and coverage.
        cache_dir: for reference statistics and trained extractors; None: ``$ADVERSARIA_CACHE`` or
            ``~/.cache/adversaria``.
    """

    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        *,
        extractor: Extractor,
        count: Count = 10_000,
        references: Sequence[Literal["train", "test"]] = ("train", "test"),
        batch_size: Count = 256,
        kid_subsets: Count = 100,
        kid_subset_size: Count = 1000,
        is_splits: Count = 10,
        precision_k: Count = 3,
        density_k: Count = 5,
        cache_dir: str | None = None,
    ) -> None:
        if not isinstance(extractor, Extractor):
            raise UserError(
                f"metrics.extractor={type(extractor).__name__} is no feature extractor; give it the attributes name,"
                " feature_dim, weights_hash and resizer"
            )
        if batch_size < BLOCK or batch_size % BLOCK:
            raise UserError(f"metrics.batch_size={batch_size} is not a multiple of {BLOCK}; choose one")
        if not references or set(references) - {"train", "test"} or len(set(references)) < len(references):
            raise UserError(f"metrics.references={list(references)} must name train, test or both, each once")
        for key, value, least in (
            ("kid_subsets", kid_subsets, 1),
            ("kid_subset_size", kid_subset_size, 2),
            ("is_splits", is_splits, 1),
            ("precision_k", precision_k, 1),
            ("density_k", density_k, 1),
            ("count", count, max(2, is_splits, precision_k + 1)),
        ):
            if value < least:
                raise UserError(f"metrics.{key}={value} is too small; it must be at least {least}")
        self.extractor, self.count, self.splits, self.batch_size = extractor, count, tuple(references), batch_size
        self.kid_subsets, self.kid_subset_size, self.is_splits = kid_subsets, kid_subset_size, is_splits
        self.precision_k, self.density_k = precision_k, density_k
        self.cache_dir = cache_folder(cache_dir)
        self._data: DataModule | None = None
        self._references: dict[SplitName, Reference] = {}

    @property
    def monitor(self) -> str:
        """The Fréchet distance."""
        return self._name("fid")

    def _name(self, score: str) -> str:
        """``kid:std`` -> ``classifier_kid10k_std``."""
        prefix = "" if isinstance(self.extractor, InceptionExtractor) else f"{self.extractor.name}_"
        thousands, rest = divmod(self.count, 1000)
        stem, *suffix = score.split(":")
        return "_".join([f"{prefix}{stem}{self.count if rest else f'{thousands}k'}", *suffix])

    def prepare(self, data: DataModule, device: torch.device) -> None:
        """Loads (or trains) the extractor, and loads (or makes) the reference statistics.

        Raises:
            UserError: the data are no images, or too few, or the extractor cannot work with them.
        """
        if data.spec.image_shape is None:
            raise UserError(f"metrics.extractor needs images, which data={data.name} is not; choose metrics=modes")
        present = [split for split in self.splits if split == self.splits[0] or split in data.loaded.splits]
        with untouched_rng(device):
            make_ready(self.extractor, data, device, self.cache_dir)
            self._references = {
                split: reference_statistics(self.extractor, data, split, self.batch_size, device, self.cache_dir)
                for split in present
            }
        self._data = data
        least = 1 + max(self.precision_k, self.density_k)
        if (reals := len(self._reference.features)) < least:
            raise UserError(
                f"data={data.name} has {reals} images, too few for the {least - 1} neighbours of metrics.precision_k"
                f" and metrics.density_k; give at least {least} images or choose metrics=none"
            )

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        """The scores of ``count`` fakes by name. See `adversaria.evaluation.protocol.Metrics.evaluate`."""
        data, _ = self._prepared()
        with untouched_rng(device):
            fakes = embed_fakes(self.extractor, draw, data.spec, self.count, self.batch_size, device)
            return from_rank_zero(self._scores(fakes) if is_rank_zero() else Scores())

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """See `adversaria.evaluation.protocol.Metrics.fingerprint`."""
        data, reference = self._prepared()
        first, *further = self._references
        return {
            "extractor": self.extractor.name,
            "extractor_weights": self.extractor.weights_hash,
            "resizer": self.extractor.resizer,
            "feature_precision": "float32",
            "sample_precision": "uint8",
            **{f"reference_{name}": value for name, value in data.identity(first).items()},
            **{
                f"{split}_reference_{name}": value
                for split in further
                for name, value in data.identity(split).items()
                if name in ("count", "content")
            },
            "fakes": self.count,
            # The Fréchet distance of so few samples is defined, but further from its limit than usual.
            "fewer_samples_than_features": min(self.count, reference.count) <= self.extractor.feature_dim,
            "kid_subsets": self.kid_subsets,
            "kid_subset_size": self._kid_size(),
            "is_splits": self.is_splits,
            "precision_k": self.precision_k,
            "density_k": self.density_k,
            # of the reference, for all scores but the Fréchet distance
            "reference_features": len(reference.features),
        }

    @property
    def _reference(self) -> Reference:
        return self._references[self.splits[0]]

    def _prepared(self) -> tuple[DataModule, Reference]:
        if self._data is None:
            raise RuntimeError("call prepare() first")
        return self._data, self._reference

    def _kid_size(self) -> int:
        return min(self.kid_subset_size, self.count, len(self._reference.features))

    def _scores(self, fakes: Embedded) -> Scores:
        """Every score of ``fakes``, NaN where samples or arithmetic are not finite, or a score is not defined."""
        finite = bool(torch.isfinite(fakes.features).all() and torch.isfinite(fakes.logits).all())
        if not finite:
            log.warning("samples or their features are not finite: the scores of this evaluation are NaN")
        scores: dict[str, float] = {}
        missing: dict[str, str] = {}
        for names, compute in self._groups(fakes):
            values: Sequence[float] = [math.nan] * len(names)
            reason = "samples or their features are not finite"
            try:
                values = compute() if finite else values
            except Undefined as error:
                reason = str(error)
            except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                reason = str(error)
                log.warning("%s is NaN: %s", self._name(names[0]), error)
            scores |= {self._name(name): value for name, value in zip(names, values, strict=True)}
            missing |= {
                self._name(name): reason for name, value in zip(names, values, strict=True) if math.isnan(value)
            }
        return Scores(scores, missing)

    def _groups(self, fakes: Embedded) -> Iterator[Group]:
        """What is to be computed, scores that share their work together."""
        (features, logits, labels), real = fakes, self._reference

        def distance_to(other: Reference) -> Callable[[], Sequence[float]]:
            return lambda: [frechet_distance(features, other.mean, other.root)]

        first, *further = self._references
        yield ("fid",), distance_to(self._references[first])
        for split in further:
            yield (f"fid:{split}",), distance_to(self._references[split])
        yield (
            ("kid", "kid:std"),
            lambda: kernel_distance(features, real.features, self.kid_subsets, self._kid_size()),
        )
        if logits.shape[1] > 1:
            yield ("is", "is:std"), lambda: inception_score(logits, self.is_splits)
        ks = {"precision_k": self.precision_k, "density_k": self.density_k}
        yield (
            ("precision", "recall", "density", "coverage"),
            lambda: neighbour_scores(real.features, features, **ks),
        )
        real_labels, names = real.labels, self._prepared()[0].class_names
        if labels is not None and real_labels is not None:
            yield ("intra_fid",), lambda: [intra_frechet(features, labels, real.features, real_labels, names)]
        if isinstance(self.extractor, ClassifiesData) and self.extractor.classifies_data:
            yield from self._class_groups(logits, labels, real.predicted)

    def _class_groups(self, logits: Tensor, labels: Tensor | None, real: Tensor) -> Iterator[Group]:
        fake = logits.argmax(dim=1).bincount(minlength=len(real))
        yield ("class_kl", "missing_classes"), lambda: [class_kl(fake, real), missing_classes(fake, real)]
        if labels is not None:
            yield ("class_accuracy",), lambda: [class_accuracy(logits, labels)]
