"""How much of a sample is left of it after an encoder and a decoder."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from adversaria.core.arrays import content_hash
from adversaria.core.errors import UserError
from adversaria.core.ranges import Count
from adversaria.core.types import BLOCK, Draw, Reconstructs
from adversaria.evaluation.protocol import Scores
from adversaria.features.classifier import ClassifierNetwork, to_arrays
from adversaria.features.classifier_extractor import committed_for
from adversaria.features.extraction import full_float32, gather_rows, images_of, untouched_rng

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

log = logging.getLogger(__name__)

#: samples at a time
_BATCH = 4 * BLOCK
_ERROR, _KEPT = "reconstruction_error", "reconstruction_class_kept"


class Reconstruction:
    """Reconstructions of held-out samples, decoded from the means of their posteriors, beside the samples.

    - ``reconstruction_error``: mean squared difference of a number of the sample, such as a pixel, in the range that
      networks see (-1 to 1 for images), of reconstructions as they are stored (images: 8 bits);
    - ``reconstruction_class_kept``: the share of them that the package's classifier names as the sample is labelled;
      only for data whose classifier comes with the package (digits, mnist, cifar10).

    A model without an encoder has no such scores.

    Args:
        limit: how many of the test split (of the training split where there is no other), from the first on; None: all.

    Raises:
        UserError: ``limit`` below 1.
    """

    monitor = _ERROR
    mode: Literal["min", "max"] = "min"

    def __init__(self, *, limit: Count | None = None) -> None:
        if limit is not None and limit < 1:
            raise UserError(f"metrics.limit={limit} is too small; it must be at least 1, or null for all")
        self.limit = limit
        self._data: DataModule | None = None
        self._network: ClassifierNetwork | None = None

    def prepare(self, data: DataModule, device: torch.device) -> None:
        """Loads the classifier of ``data``, if there is one."""
        labelled = data.spec.image_shape is not None and data.split(data.held_out).labels is not None
        network = committed_for(data) if labelled else None
        self._data, self._network = data, None if network is None else network.to(device).requires_grad_(False)

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        """The scores by name; none without an encoder. See `adversaria.evaluation.protocol.Metrics.evaluate`."""
        data = self._prepared()
        drawn: object = draw  # of what may draw some reconstruct
        if not isinstance(drawn, Reconstructs) or not drawn.encodes:
            return Scores(missing={_ERROR: "what is scored has no encoder"})
        modality, names = data.spec.modality, [_ERROR, *([_KEPT] if self._network is not None else [])]

        def rows(start: int, stop: int) -> Tensor:
            stored, labels = data.batch(data.held_out, np.arange(start, stop))
            x = modality.decode(stored).to(device)
            again = drawn.reconstruct(x)
            error = (modality.decode(modality.encode(again.nan_to_num())) - x).square().flatten(1).mean(1)
            columns = [error]
            if self._network is not None and labels is not None:
                columns.append(self._names(images_of(again, data.spec).to(device)) == labels.to(device))
            table = torch.stack([column.float() for column in columns], dim=1)
            return table if bool(torch.isfinite(again).all()) else table.fill_(torch.nan)

        with untouched_rng(device):
            table = gather_rows(rows, self._count(data), _BATCH, device, "evaluation").double()  # [count, 2]
        if not bool(torch.isfinite(table).all()):
            log.warning("reconstructions are not finite: the scores of this evaluation are NaN")
            return Scores(dict.fromkeys(names, math.nan), dict.fromkeys(names, "reconstructions are not finite"))
        return Scores(dict(zip(names, table.mean(0).tolist(), strict=True)))

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """See `adversaria.evaluation.protocol.Metrics.fingerprint`."""
        data, named = self._prepared(), {}
        if (network := self._network) is not None:
            named = {
                "extractor": "classifier",
                "extractor_weights": content_hash(to_arrays(network)[0]),
                "resizer": f"antialiased bilinear to {network.size}x{network.size}",
                "feature_precision": "float32",
            }
        return {
            **named,
            "sample_precision": str(data.spec.stored_sample.dtype).removeprefix("torch."),
            "latents": "means of posteriors",
            **{f"reference_{name}": value for name, value in data.identity(data.held_out).items()},
            "reconstructions": self._count(data),
        }

    def _names(self, images: Tensor) -> Tensor:
        """The classes ``[N]`` that the classifier takes uint8 images ``[N, C, H, W]`` for."""
        assert self._network is not None
        with torch.no_grad(), full_float32(images.device):
            return self._network(images)[1].argmax(dim=1)  # type: ignore[no-any-return]

    def _count(self, data: DataModule) -> int:
        held_out = len(data.split(data.held_out))
        return held_out if self.limit is None else min(self.limit, held_out)

    def _prepared(self) -> DataModule:
        if self._data is None:
            raise RuntimeError("call prepare() first")
        return self._data
