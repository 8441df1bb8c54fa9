"""Whether a generator copies its training images: distances to the nearest of them, and a picture of these."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adversaria.core.arrays import Arrays, BadFile, cached, key_hash
from adversaria.core.errors import UserError
from adversaria.core.files import cache_folder
from adversaria.core.ranges import Count, Share
from adversaria.core.types import Draw
from adversaria.evaluation.generated import generated_batches, generated_images
from adversaria.evaluation.neighbour_picture import Row, neighbour_picture
from adversaria.features.extraction import embed, full_float32, progress, untouched_rng
from adversaria.features.extractor import Extractor
from adversaria.modalities.pictures import save_picture

if TYPE_CHECKING:
    from adversaria.data.module import DataModule, SplitName

log = logging.getLogger(__name__)

#: distances are computed for so many samples and so many training images at a time: 64 MiB of them
_QUERIES, _REFERENCES = 2048, 8192


@dataclass(frozen=True)
class TrainingFeatures:
    """What samples are compared with.

    Attributes:
        features: of the training images, then of their mirror images if the data are mirrored: ``[M, F]`` float16.
        test_distances: of each real test image to its nearest of these, ``[T]`` float32; empty without a test split.
    """

    features: Tensor
    test_distances: Tensor


class Memorisation:
    """Distances of samples to their nearest training images, compared with those of real test images.

    A perfect generator's samples lie as near to the training images as test images do, which it has not seen either.
    Samples that lie nearer are copies or variations of training images, or more typical than real images are: a
    generator without variety, or with too many of the simple classes, scores like a slight copier, so look at the
    picture. Distances are Euclidean, between an extractor's features.

    - ``duplicates``: the share of samples that are at most ``duplicate_distance`` away from a training image. That is
      the distance that the share ``quantile`` of the test images does not exceed; ``duplicates_of_test`` is their share
      by the same count: equal to ``quantile`` up to one image, larger if many test images are equally near (as where
      they repeat training images). A perfect generator has about as many.
    - ``farther_than_test``: the probability that a sample is farther from its nearest training image than a test image
      is from its own; equal distances count half. 0.5 is perfect, 0 copies alone; well above 0.5 samples are
      far from any real image (Meehan et al. 2020, "A Non-Parametric Test to Detect Data-Copying in Generative
      Models", section 3.1).
    - ``data_copying_z``: the same in standard deviations of its chance, the z-score of the Mann-Whitney test (their
      Z_U). Below about -5 means copying, above 5 underfitting; it grows with the square root of the number of samples.
      This is the test over all samples at once, not the mean over cells of similar images that they call C_T.

    Args:
        count: number of samples.
        neighbours: training images shown beside each sample.
        shown: samples in the picture. One half are the nearest to the training images, the other half are spread
            evenly over the ranks from there to the farthest.
        quantile: see above, between 0 and 1.
        batch_size: of the extractor.
        cache_dir: for the features of the training images; None: ``$ADVERSARIA_CACHE`` or ``~/.cache/adversaria``.

    Raises:
        UserError: a value out of range.
    """

    def __init__(
        self,
        *,
        count: Count = 10_000,
        neighbours: Count = 4,
        shown: Count = 16,
        quantile: Share = 0.01,
        batch_size: Count = 256,
        cache_dir: str | None = None,
    ) -> None:
        for key, value, least in (("count", count, 2), ("neighbours", neighbours, 1), ("batch_size", batch_size, 1)):
            if value < least:
                raise UserError(f"memorisation.{key}={value} is too small; it must be at least {least}")
        if not 2 <= shown <= count:
            raise UserError(f"memorisation.shown={shown} must be at least 2 and at most memorisation.count={count}")
        if not 0 < quantile < 1:
            raise UserError(f"memorisation.quantile={quantile} must be between 0 and 1; a usual value is 0.01")
        self.count, self.neighbours, self.shown, self.quantile = count, neighbours, shown, quantile
        self.batch_size = batch_size
        self.cache_dir = cache_folder(cache_dir)
        self._made: dict[str, str | int | float | bool] = {}

    def evaluate(
        self, draw: Draw, data: DataModule, extractor: Extractor, device: torch.device, picture: Path
    ) -> dict[str, float]:
        """Draws samples, finds their nearest training images, writes the picture and gives the scores.

        The global random state stays as it was. Without a test split there is the picture alone, and a warning.

        Args:
            draw: draws the samples.
            data: images.
            extractor: loaded, in eval mode and on ``device``.
            device: where to compute.
            picture: the PNG file to write.

        Returns:
            The five scores of the class's docstring by their names; none without a test split.

        Raises:
            UserError: the data are no images, or fewer than ``neighbours``; samples or features are not finite.
        """
        if data.spec.image_shape is None:
            raise UserError(f"memorisation needs images, which data={data.name} is not; leave memorisation out")
        with untouched_rng(device):
            reference = self._training_features(data, extractor, device)
            if len(reference.features) < self.neighbours:
                raise UserError(
                    f"memorisation.neighbours={self.neighbours} is more than the {len(reference.features)} training"
                    f" images of {data.name}; choose fewer"
                )
            batches = generated_batches(draw, data.spec, self.count, self.batch_size, "samples")
            features = _features(extractor, (batch.samples for batch in batches), self.count, device)
            distances, indices = nearest(features, reference.features, self.neighbours, device)
            scores = {}
            if len(reference.test_distances):
                scores = copying_scores(distances[:, 0], reference.test_distances, self.quantile)
            else:
                log.warning("%s has no test split to compare with: memorisation gives its picture alone", data.name)
            self._draw_picture(draw, data, distances, indices, scores.get("duplicate_distance"), picture)
        self._made = {
            "extractor": extractor.name,
            "extractor_weights": extractor.weights_hash,
            "resizer": extractor.resizer,
            "feature_precision": "float16",
            "sample_precision": "uint8",
            "samples": self.count,
            "quantile": self.quantile,
            "mirror": data.mirror,
            **{f"{split}_{name}": value for split in _splits(data) for name, value in data.identity(split).items()},
        }
        return scores

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """How the scores were made. Needs `evaluate`."""
        if not self._made:
            raise RuntimeError("call evaluate() first")
        return dict(self._made)

    def _training_features(self, data: DataModule, extractor: Extractor, device: torch.device) -> TrainingFeatures:
        """Reads them from the cache, or makes and stores them; a damaged or foreign file is replaced, never trusted."""
        key: dict[str, Any] = {
            "format": 1,
            "extractor": extractor.name,
            "weights": extractor.weights_hash,
            "resizer": extractor.resizer,
            "mirror": data.mirror,
            **{split: data.identity(split) for split in _splits(data)},
        }
        path = self.cache_dir / "training_features" / f"{extractor.name}-{data.name}-{key_hash(key)[:16]}.npz"
        return cached(
            path,
            key,
            read=lambda arrays: _from_arrays(arrays, extractor.feature_dim),
            make=lambda: self._compute(data, extractor, device),
            write=lambda made: {name: tensor.numpy() for name, tensor in vars(made).items()},
            what="the features of the training images",
        )

    def _compute(self, data: DataModule, extractor: Extractor, device: torch.device) -> TrainingFeatures:
        parts = [
            _features(extractor, self._stored(data, "train", mirrored), len(data.split("train")), device)
            for mirrored in ([False, True] if data.mirror else [False])
        ]
        features, distances = torch.cat(parts), torch.empty(0)
        if "test" in _splits(data):
            test = _features(extractor, self._stored(data, "test", False), len(data.split("test")), device)
            distances = nearest(test, features, 1, device)[0].squeeze(1)
        return TrainingFeatures(features, distances)

    def _stored(self, data: DataModule, which: SplitName, mirrored: bool) -> Iterator[Tensor]:
        split = data.images(which)
        for start in progress(range(0, len(split), self.batch_size), f"features of {data.name}"):
            images = split.batch(slice(start, start + self.batch_size)).samples
            yield images.flip(3) if mirrored else images

    def _draw_picture(
        self,
        draw: Draw,
        data: DataModule,
        distances: Tensor,
        indices: Tensor,
        threshold: float | None,
        path: Path,
    ) -> None:
        """Writes the samples of the docstring with their neighbours; ``distances`` and ``indices`` are ``[N, k]``."""
        train = data.images("train")

        def row(number: int) -> Row:
            images = train.batch(indices[number] % len(train)).samples
            mirrored = (indices[number] >= len(train))[:, None, None, None]
            return Row(
                generated_images(draw, data.spec, number, number + 1).samples[0].cpu(),
                torch.where(mirrored, images.flip(3), images),
                distances[number].tolist(),
            )

        ranks = distances[:, 0].argsort(stable=True)
        half = self.shown // 2
        even = torch.linspace(half, self.count - 1, self.shown - half).round().long()
        blocks = {
            "Nearest to the training images": [row(number) for number in ranks[:half].tolist()],
            "Evenly from there to the farthest": [row(number) for number in ranks[even].tolist()],
        }
        note = "Distances between features."
        if threshold is not None:
            nearest_share = f"{100 * self.quantile:g}%"
            note += f" Red: as near as the nearest {nearest_share} of the real test images, up to {threshold:#.3g}."
        save_picture(path, neighbour_picture(blocks, threshold, note))


def nearest(queries: Tensor, references: Tensor, k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of ``references [M, F]`` to each of ``queries [N, F]``, by Euclidean distance.

    Besides the features it takes less than 400 MB for F = 2048 and k = 4, whatever N and M.

    Returns:
        Distances ``[N, k]`` float32 in ascending order, and indices ``[N, k]`` int64, on the CPU.
    """
    centre = references[:_REFERENCES].to(device).float().mean(0)  # the products below lose fewer digits around it
    parts = []
    with full_float32(device):
        for first in progress(range(0, len(queries), _QUERIES), "nearest training images"):
            exact = queries[first : first + _QUERIES].to(device).float()
            q = exact - centre
            squares, indices = q.new_empty(len(q), 0), torch.empty(len(q), 0, dtype=torch.int64, device=device)
            for start in range(0, len(references), _REFERENCES):
                r = references[start : start + _REFERENCES].to(device).float() - centre
                # |q - r|^2 less |q|^2, which is the same for all r
                block = torch.addmm(r.square().sum(1), q, r.T, alpha=-2)
                values, places = block.topk(min(k, len(r)), largest=False)
                squares, indices = torch.cat([squares, values], 1), torch.cat([indices, places + start], 1)
                squares, order = squares.topk(min(k, squares.shape[1]), largest=False)
                indices = indices.gather(1, order)
            # again without the cancellation: copies have to be at 0
            neighbours = references[indices.cpu()].to(device).float()  # [n, k, F]
            distances, order = (neighbours - exact[:, None]).norm(dim=2).sort(stable=True)
            parts.append((distances.cpu(), indices.gather(1, order).cpu()))
    return torch.cat([distances for distances, _ in parts]), torch.cat([indices for _, indices in parts])


def copying_scores(samples: Tensor, test: Tensor, quantile: float) -> dict[str, float]:
    """The scores of `Memorisation` from the distances ``samples [N]`` and ``test [T]`` to the training images."""
    samples, test = samples.double(), test.double().sort().values
    threshold = test[math.ceil(quantile * len(test)) - 1]
    below, up_to = (torch.searchsorted(test, samples, right=right) for right in (False, True))
    n, m = len(samples), len(test)
    farther = float((below + up_to).sum()) / (2 * n * m)  # Mann and Whitney's U as a share of all pairs
    # Variance of that share under equal distributions, less for ties (Lehmann 1975, "Nonparametrics", section 1.4)
    _, ties = torch.unique(torch.cat([samples, test]), return_counts=True)
    total = n + m
    spread = total + 1 - float((ties.double() ** 3 - ties).sum()) / (total * (total - 1))
    deviation = math.sqrt(max(0.0, spread) / (12 * n * m))
    return {
        "duplicates": float((samples <= threshold).double().mean()),
        "duplicates_of_test": float((test <= threshold).double().mean()),
        "duplicate_distance": float(threshold),
        "farther_than_test": farther,
        "data_copying_z": (farther - 0.5) / deviation if deviation > 0 else 0.0,
    }


def _features(extractor: Extractor, batches: Iterable[Tensor], count: int, device: torch.device) -> Tensor:
    """Features ``[count, F]`` of uint8 ``batches`` in half precision, on the CPU.

    Raises:
        UserError: they are not finite, or out of the range that half precision has.
    """
    features = torch.empty(count, extractor.feature_dim, dtype=torch.float16)
    start = 0
    for images in batches:
        exact = embed(extractor, images, device)[0].cpu()
        half = exact.half()
        if not bool((half.float() - exact).norm() <= 0.01 * exact.norm()):
            raise UserError(
                f"the features of metrics.extractor={extractor.name} do not survive half precision, as those below 1e-5"
                " or above 65504 do not; scale them, or choose another extractor"
            )
        features[start : start + len(half)] = half
        start += len(half)
    return features


def _splits(data: DataModule) -> list[SplitName]:
    return ["train", "test"] if "test" in data.loaded.splits else ["train"]


def _from_arrays(arrays: Arrays, dim: int) -> TrainingFeatures:
    """Raises BadFile unless the arrays are `TrainingFeatures` of ``dim`` features."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    kinds = {name: (tensor.dtype, tensor.shape[1:]) for name, tensor in tensors.items()}
    if kinds != {"features": (torch.float16, (dim,)), "test_distances": (torch.float32, ())}:
        raise BadFile("cached features of training images have other shapes")
    return TrainingFeatures(**tensors)
