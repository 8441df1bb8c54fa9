"""What makes decoded images doubtful, whatever the cause: a range that is almost empty, copies, one class for all."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adversaria.data.storage import Split

_LOOKED_AT = 128  # rows, evenly spaced: of a million images the check reads as few as of a thousand
_BRIGHT = 99.9  # percentile: one hot pixel says nothing of the range
_NARROW, _DIM = 24, 128
_COPIES, _ONE_CLASS = 0.5, 0.95
_FEWEST = 8  # of fewer images nothing can be said


def doubts(split: Split, class_names: Sequence[str] | None, *, deep: bool = False) -> list[str]:
    """One sentence for each thing that is likely a mistake in the training images; see the module.

    Args:
        split: the training images, ``[N, H, W, C]`` uint8.
        class_names: None without labels.
        deep: the files store more than 8 bits for each value.
    """
    rows = np.unique(np.linspace(0, len(split) - 1, min(len(split), _LOOKED_AT)).astype(np.int64))
    if len(rows) < _FEWEST:
        return []
    looked_at = np.asarray(split.samples[rows])
    return [*_range(looked_at, deep), *_copies(looked_at), *_classes(split.labels, class_names)]


def _range(images: NDArray[np.uint8], deep: bool) -> list[str]:
    low, high = int(images.min()), int(np.percentile(images, _BRIGHT, method="lower"))
    if deep and high < _DIM:
        # The largest stored value is near (high + 1/2) / 255 of what 16 bits hold.
        bits = max(8, int(np.log2((high + 0.5) * 65535 / 255)))
        return [
            f"the images are nearly black (their brightest value is {high} of 255), as values of {bits} bits "
            f"are when read as 16 bits: set data.white={2**bits - 1}"
        ]
    if high - low < _NARROW:
        dim = f": if their white is stored as {high}, set data.white={high}" if 0 < high < _DIM else ""
        return [f"the images are nearly of one shade (their values lie between {low} and {high} of 0 to 255){dim}"]
    return []


def _copies(images: NDArray[np.uint8]) -> list[str]:
    digests = Counter(hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images)
    ((_, most),) = digests.most_common(1)
    if most <= _COPIES * len(images):
        return []
    return [f"{most} of {len(images)} images that were compared are the same image: is data.root the right folder?"]


def _classes(labels: NDArray[np.int64] | None, class_names: Sequence[str] | None) -> list[str]:
    if labels is None or class_names is None or len(class_names) < 2:
        return []
    counts = np.bincount(labels, minlength=len(class_names))
    share = float(counts.max() / len(labels))
    if share < _ONE_CLASS:
        return []
    return [f"{share:.1%} of the training images are of one class ({class_names[int(counts.argmax())]})"]
