"""FID, KID and IS from one pass of features."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from adversaria.errors import UserError
from adversaria.metrics.extraction import fake_rows, from_rank_zero, gather_rows, is_rank_zero, untouched_rng
from adversaria.metrics.frechet import frechet_distance
from adversaria.metrics.inception import InceptionExtractor
from adversaria.metrics.inception_score import inception_score
from adversaria.metrics.kernel import kernel_distance
from adversaria.metrics.protocol import BLOCK, Draw, Extractor, LoadsForData
from adversaria.metrics.reference import Reference, reference_statistics
from adversaria.metrics.store import default_cache_dir

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

log = logging.getLogger(__name__)


class FeatureMetrics:
    """Compares features of fakes with those of the data: Fréchet distance, kernel distance, Inception Score.

    The number of fakes belongs to a score's name (``fid10k``): all three are biased by it. Scores of another extractor
    than Inception carry its name in front (``classifier_fid10k``), so that nobody takes them for published ones.

    Args:
        extractor: the network, see `adversaria.metrics.Extractor`.
        count: number of fakes.
        reference: the split that fakes are compared with.
        batch_size: of the extractor, a multiple of 64.
        kid_subsets: how many pairs of subsets KID averages over.
        kid_subset_size: of each; smaller where there are fewer samples.
        is_splits: how many parts IS averages over.
        cache_dir: for reference statistics and trained extractors; None: ``$ADVERSARIA_CACHE`` or
            ``~/.cache/adversaria``.
    """

    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        *,
        extractor: Extractor,
        count: int = 10_000,
        reference: Literal["train", "test"] = "train",
        batch_size: int = 256,
        kid_subsets: int = 100,
        kid_subset_size: int = 1000,
        is_splits: int = 10,
        cache_dir: str | None = None,
    ) -> None:
        if not isinstance(extractor, Extractor):
            raise UserError(
                f"metrics.extractor={type(extractor).__name__} is no feature extractor; give it the attributes name,"
                " feature_dim, weights_hash and resizer"
            )
        if batch_size < BLOCK or batch_size % BLOCK:
            raise UserError(f"metrics.batch_size={batch_size} is not a multiple of {BLOCK}; choose one")
        for key, value, least in (
            ("kid_subsets", kid_subsets, 1),
            ("kid_subset_size", kid_subset_size, 2),
            ("is_splits", is_splits, 1),
            ("count", count, max(2, is_splits)),
        ):
            if value < least:
                raise UserError(f"metrics.{key}={value} is too small; it must be at least {least}")
        self.extractor, self.count, self.split, self.batch_size = extractor, count, reference, batch_size
        self.kid_subsets, self.kid_subset_size, self.is_splits = kid_subsets, kid_subset_size, is_splits
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
        self._data: DataModule | None = None
        self._reference: Reference | None = None

    @property
    def monitor(self) -> str:
        """The Fréchet distance."""
        return self._name("fid")

    def _name(self, score: str) -> str:
        prefix = "" if isinstance(self.extractor, InceptionExtractor) else f"{self.extractor.name}_"
        thousands, rest = divmod(self.count, 1000)
        return f"{prefix}{score}{self.count if rest else f'{thousands}k'}"

    def prepare(self, data: DataModule, device: torch.device) -> None:
        """Loads (or trains) the extractor, and loads (or makes) the reference statistics.

        Raises:
            UserError: the data are no images, or the extractor cannot work with them.
        """
        if data.spec.modality != "image":
            raise UserError(f"metrics.extractor needs images, which data={data.name} is not; choose metrics=modes")
        with untouched_rng(device):
            if isinstance(self.extractor, LoadsForData):
                self.extractor.load(data, device, self.cache_dir)
            if isinstance(self.extractor, nn.Module):
                self.extractor.to(device).eval().requires_grad_(False)
            self._reference = reference_statistics(
                self.extractor, data, self.split, self.batch_size, device, self.cache_dir
            )
        self._data = data

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        """Scores of ``count`` fakes: Fréchet distance, kernel distance and Inception Score, the last two with their
        standard deviation over subsets. See `adversaria.metrics.Metrics.evaluate`.
        """
        data, reference = self._prepared()
        with untouched_rng(device):
            rows = fake_rows(self.extractor, draw, data.spec, device)
            pairs = gather_rows(rows, self.count, self.batch_size, device, "evaluation")
            values = [math.nan] * 5
            if is_rank_zero():
                features, logits = pairs[:, : self.extractor.feature_dim], pairs[:, self.extractor.feature_dim :]
                values = self._scores(features, logits, reference)
            fid, kid, kid_std, score, score_std = from_rank_zero(values, device)
        return {
            self._name("fid"): fid,
            self._name("kid"): kid,
            f"{self._name('kid')}_std": kid_std,
            self._name("is"): score,
            f"{self._name('is')}_std": score_std,
        }

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """See `adversaria.metrics.Metrics.fingerprint`."""
        data, reference = self._prepared()
        return {
            "extractor": self.extractor.name,
            "extractor_weights": self.extractor.weights_hash,
            "resizer": self.extractor.resizer,
            "feature_precision": "float32",
            "sample_precision": "uint8",
            **{f"reference_{name}": value for name, value in data.identity(self.split).items()},
            "fakes": self.count,
            # The Fréchet distance of so few samples is defined, but further from its limit than usual.
            "fewer_samples_than_features": min(self.count, reference.count) <= self.extractor.feature_dim,
            "kid_subsets": self.kid_subsets,
            "kid_subset_size": self._kid_size(reference),
            "is_splits": self.is_splits,
        }

    def _prepared(self) -> tuple[DataModule, Reference]:
        if self._data is None or self._reference is None:
            raise RuntimeError("call prepare() first")
        return self._data, self._reference

    def _kid_size(self, reference: Reference) -> int:
        return min(self.kid_subset_size, self.count, len(reference.features))

    def _scores(self, features: Tensor, logits: Tensor, reference: Reference) -> list[float]:
        """The five scores of ``features [N, F]`` and ``logits [N, K]``."""
        if not bool(torch.isfinite(features).all() and torch.isfinite(logits).all()):
            log.warning("samples or their features are not finite: the scores of this evaluation are NaN")
            return [math.nan] * 5
        try:
            distance = frechet_distance(features, reference.mean, reference.root)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            log.warning("%s is NaN: %s", self.monitor, error)
            distance = math.nan
        kid = kernel_distance(features, reference.features, self.kid_subsets, self._kid_size(reference))
        return [distance, *kid, *inception_score(logits, self.is_splits)]
