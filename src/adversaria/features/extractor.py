"""What the metrics ask of a network that looks at samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

if TYPE_CHECKING:
    from adversaria.data.module import DataModule


@runtime_checkable
class Extractor(Protocol):
    """An ``nn.Module`` whose activations are compared: the contract for your own.

    Attributes:
        name: stands in front of its scores, as in ``classifier_fid10k``.
        feature_dim: F, the number of features.
        weights_hash: tells its weights from all others, in fingerprints and caches.
        resizer: how images reach its native size, in words.
    """

    name: str
    feature_dim: int
    weights_hash: str
    resizer: str

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 ``[N, C, H, W]`` -> float32 features ``[N, F]`` and class logits ``[N, K]``."""
        ...


@runtime_checkable
class ClassifiesData(Protocol):
    """An extractor that knows classes.

    Attributes:
        classifies_data: whether its logits are of the data's own labels, in their order. Scores of classes are then
            computed as well.
    """

    classifies_data: bool


@runtime_checkable
class LoadsForData(Protocol):
    """An extractor that loads or trains its weights only when the data is known."""

    def load(self, data: DataModule, device: torch.device, cache_dir: Path) -> None:
        """Afterwards the module and its attributes are ready. Raises UserError."""
        ...
