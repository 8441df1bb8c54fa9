"""Statistics of the real images: made once for each extractor and data set, then read from a cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from adversaria.core.arrays import Arrays, BadFile, cached, key_hash
from adversaria.core.errors import UserError
from adversaria.evaluation.metrics.frechet import RunningGaussian, symmetric_root
from adversaria.features.extraction import embed, progress
from adversaria.features.extractor import Extractor

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

#: Of how many images the features themselves are kept, evenly spread over the split.
MAX_FEATURES = 10_000


@dataclass(frozen=True)
class Reference:
    """What the scores compare fakes with.

    Attributes:
        count: of the images.
        mean: of their features, ``[F]`` float64.
        root: the square root of the features' covariance, ``[F, F]`` float64.
        features: of at most `MAX_FEATURES` of the images, ``[M, F]`` float32.
        labels: of the same images, ``[M]`` int64; None without labels.
        predicted: how many of all images have their largest logit in each class, ``[K]`` int64.
    """

    count: int
    mean: Tensor
    root: Tensor
    features: Tensor
    labels: Tensor | None
    predicted: Tensor


def reference_statistics(
    extractor: Extractor,
    data: DataModule,
    split: Literal["train", "test"],
    batch_size: int,
    device: torch.device,
    cache_dir: Path,
) -> Reference:
    """Reads them from ``cache_dir``, or makes and stores them; a damaged or foreign file is replaced, never trusted.

    Raises:
        UserError: the split has fewer than two images.
    """
    key = {
        "format": 2,
        "extractor": extractor.name,
        "weights": extractor.weights_hash,
        "resizer": extractor.resizer,
        **{f"reference_{name}": value for name, value in data.identity(split).items()},
    }
    path = cache_dir / "references" / f"{extractor.name}-{data.name}-{split}-{key_hash(key)[:16]}.npz"
    return cached(
        path,
        key,
        read=lambda arrays: _from_arrays(arrays, extractor.feature_dim),
        make=lambda: _compute(extractor, data, split, batch_size, device),
        write=_to_arrays,
        what="the reference statistics",
    )


def _compute(
    extractor: Extractor, data: DataModule, split: Literal["train", "test"], batch_size: int, device: torch.device
) -> Reference:
    source = data.images(split)
    count = len(source)
    if count < 2:
        raise UserError(f"the {split} split of {data.name} has {count} image, too few to compare with; give at least 2")
    gaussian = RunningGaussian(extractor.feature_dim)
    kept = torch.from_numpy(np.linspace(0, count - 1, min(count, MAX_FEATURES)).round().astype(np.int64))
    features = torch.empty(len(kept), extractor.feature_dim)
    predicted = torch.zeros(0, dtype=torch.int64)
    for start in progress(range(0, count, batch_size), f"reference of {data.name}"):
        stop = min(start + batch_size, count)
        batch, logits = embed(extractor, source.batch(torch.arange(start, stop)).samples, device)
        gaussian.update(batch)
        low, high = torch.searchsorted(kept, torch.tensor([start, stop])).tolist()
        features[low:high] = batch.cpu()[kept[low:high] - start]
        votes = logits.argmax(dim=1).cpu().bincount(minlength=logits.shape[1])  # [K]
        predicted = votes if start == 0 else predicted + votes
    labels = None if source.labels is None else torch.from_numpy(np.asarray(source.labels[kept.numpy()]))
    return Reference(count, gaussian.mean, symmetric_root(gaussian.covariance), features, labels, predicted)


def _to_arrays(reference: Reference) -> Arrays:
    return {
        "count": np.array(reference.count),
        "mean": reference.mean.numpy(),
        "root": reference.root.numpy(),
        "features": reference.features.numpy(),
        "predicted": reference.predicted.numpy(),
        **({} if reference.labels is None else {"labels": reference.labels.numpy()}),
    }


def _from_arrays(arrays: Arrays, dim: int) -> Reference:
    """Raises BadFile unless the arrays are what `_to_arrays` gives."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "count"}
    kept = len(arrays.get("features", ()))
    expected = {"mean": (dim,), "root": (dim, dim), "features": (kept, dim), "labels": (kept,)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name in expected}
    if shapes not in (expected, {n: s for n, s in expected.items() if n != "labels"}) or not {"count", "predicted"} <= (
        arrays.keys()
    ):
        raise BadFile("cached reference statistics have other shapes")
    return Reference(labels=tensors.pop("labels", None), count=int(arrays["count"]), **tensors)
