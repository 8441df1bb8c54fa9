"""One pass of a network over samples: isolated from training, in blocks that ranks share."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from adversaria.core.errors import UserError
from adversaria.core.ranks import rank_and_world
from adversaria.core.types import BLOCK, Draw
from adversaria.features.extractor import Extractor, LoadsForData

if TYPE_CHECKING:
    from pathlib import Path

    from adversaria.core.types import DataSpec
    from adversaria.data.module import DataModule

T = TypeVar("T")


class Embedded(NamedTuple):
    """``features [N, F]``, ``logits [N, K]``, both float32, and ``labels [N]`` int64 or None."""

    features: Tensor
    logits: Tensor
    labels: Tensor | None


@contextmanager
def untouched_rng(device: torch.device) -> Iterator[None]:
    """Puts the random state of torch (CPU and ``device``), NumPy and Python back afterwards: evaluating must not
    change training.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """No autocast, TF32 or bf16 products inside, whatever training has chosen: features are float32."""
    backends: Any = torch.backends
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


def make_ready(extractor: Extractor, data: DataModule, device: torch.device, cache_dir: Path) -> None:
    """Loads (or trains) what an extractor needs for ``data``, and puts it on ``device``, frozen.

    Raises:
        UserError: it cannot work with the data.
    """
    if isinstance(extractor, LoadsForData):
        extractor.load(data, device, cache_dir)
    if isinstance(extractor, nn.Module):
        extractor.to(device).eval().requires_grad_(False)


def embed(extractor: Extractor, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 ``images [N, C, H, W]`` -> features ``[N, F]`` and logits ``[N, K]``, float32 on ``device``.

    Raises:
        UserError: the extractor does not keep its contract.
    """
    with torch.no_grad(), full_float32(device):
        features, logits = extractor(images.to(device))
    expected = (len(images), extractor.feature_dim)
    if features.shape != expected or logits.ndim != 2 or len(logits) != len(images):
        raise UserError(
            f"metrics.extractor gives features of shape {list(features.shape)} and logits of shape"
            f" {list(logits.shape)}; features must be {list(expected)} and logits [{len(images)}, classes]"
        )
    return features.float(), logits.float()


def images_of(samples: Tensor, spec: DataSpec) -> Tensor:
    """uint8 images ``[N, C, H, W]`` of samples ``[N, *spec.shape]`` that were drawn.

    Published practice stores fakes as 8-bit images; reals were stored like that, and both take one path from here.
    """
    images = spec.modality.as_image(spec.modality.encode(samples.nan_to_num()))
    if images is None:
        raise UserError(f"features are taken of images, which {spec.modality.noun} are not; choose other metrics")
    return images


def embed_fakes(
    extractor: Extractor, draw: Draw, spec: DataSpec, count: int, batch_size: int, device: torch.device
) -> Embedded:
    """Features, logits and labels of samples 0 to ``count``, on the CPU of every rank; NaN for a whole batch in which a
    sample is not finite. For the other arguments see `gather_rows`.
    """
    labelled = False

    def rows(start: int, stop: int) -> Tensor:
        nonlocal labelled
        samples, labels = draw(start, stop)
        labels = None if labels is None or labels.dim() > 1 else labels  # conditions are no classes
        labelled = labels is not None
        pair = torch.cat(embed(extractor, images_of(samples, spec), device), dim=1)
        if samples.is_floating_point() and not bool(torch.isfinite(samples).all()):
            pair.fill_(torch.nan)
        column = torch.zeros(len(pair)) if labels is None else labels
        return torch.cat([pair, column.to(pair)[:, None]], dim=1)  # [stop - start, F + K + 1]

    table = gather_rows(rows, count, batch_size, device, "evaluation")
    features, logits = table[:, : extractor.feature_dim], table[:, extractor.feature_dim : -1]
    return Embedded(features, logits, table[:, -1].long() if labelled else None)


def gather_rows(
    rows: Callable[[int, int], Tensor], count: int, batch_size: int, device: torch.device, what: str
) -> Tensor:
    """The rows ``[count, D]`` of all samples in order, on the CPU of every rank.

    Batches are dealt out to the ranks as wholes, so that every number of ranks computes the very same ones.

    Args:
        rows: ``rows(start, stop)`` -> ``[stop - start, D]``, from samples that depend on their number alone.
        count: how many.
        batch_size: of a call to ``rows``, a multiple of `BLOCK`.
        device: that the process group communicates from.
        what: names the progress bar, shown on rank 0.
    """
    rank, world = rank_and_world()
    batches = math.ceil(count / batch_size)
    parts = []
    for turn in progress(range(math.ceil(batches / world)), what, show=rank == 0):
        # Where the last turn has no batch left for a rank it repeats one, which is cut off below.
        start = (turn * world + rank) % batches * batch_size
        part = rows(start, min(start + batch_size, math.ceil(count / BLOCK) * BLOCK))
        parts.append(F.pad(part, (0, 0, 0, batch_size - len(part))).cpu())
    own = torch.stack(parts)  # [turns, batch_size, D]
    if world == 1:
        return own.flatten(0, 1)[:count]
    own = own.to(device if dist.get_backend() == "nccl" else "cpu")
    everyone = [torch.empty_like(own) for _ in range(world)]
    dist.all_gather(everyone, own)
    return torch.stack(everyone, dim=1).cpu().flatten(0, 2)[:count]  # [turns, world, batch_size, D]


def progress(items: Sequence[T], what: str, show: bool = True) -> Iterable[T]:
    """``items`` under a progress bar with an estimate, which appears if they take longer than a few seconds."""
    bar: Iterable[T] = tqdm(items, desc=what, leave=False, delay=3, disable=not show)
    return bar
