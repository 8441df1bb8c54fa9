"""torch-fidelity's Inception-v3, the extractor of published scores."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from adversaria.errors import UserError

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
#: The first digits of the file's sha256, which its name ends with.
SHA256_PREFIX = "6726825d"


class InceptionExtractor(nn.Module):
    """uint8 images ``[N, 1 or 3, H, W]`` -> features ``[N, 2048]`` (the last pooling) and logits ``[N, 1008]`` (without
    bias), as FID, KID and IS have been published since TensorFlow 1. Grey images are repeated to three channels.

    The weights (91 MB) are downloaded once into torch's hub folder.

    Args:
        weights: a file to take instead of the download.
    """

    name = "inception"
    feature_dim = 2048
    resizer = "bilinear as in TensorFlow 1 to 299x299"
    weights_hash = ""

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.weights = None if weights is None else Path(weights).expanduser()
        if self.weights is not None and not self.weights.is_file():
            raise UserError(f"metrics.extractor.weights={weights} is not a file; give the path of Inception's weights")
        self.network: nn.Module | None = None

    def load(self, data: DataModule, device: torch.device, cache_dir: Path) -> None:
        """Downloads the weights if need be and builds the network; the global random state stays as it was.

        Raises:
            UserError: the data are no images of 1 or 3 channels; the weights cannot be had.
        """
        if data.spec.modality != "image" or data.spec.shape[0] not in (1, 3):
            raise UserError(
                f"metrics=inception takes images of 1 or 3 channels, which data={data.name} of shape"
                f" {list(data.spec.shape)} is not; choose metrics=none or another extractor"
            )
        if self.network is None:
            path = self.weights or _download()
            self.weights_hash = _checked_hash(path)
            self.network = _build(path)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; needs `load`."""
        if self.network is None:
            raise RuntimeError("call load() first")
        features, logits = self.network(images.expand(-1, 3, -1, -1))
        return features, logits


def _download() -> Path:
    """The path of the weights in torch's hub folder; a file of another content there is refused."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / URL.rpartition("/")[2]
    if path.is_file():
        if not _sha256(path).startswith(SHA256_PREFIX):
            raise UserError(f"Inception's weights {path} are damaged; delete the file, or replace it by {URL}")
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(path), hash_prefix=SHA256_PREFIX)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"metrics=inception needs Inception's weights, which could not be downloaded ({error}): put {path.name}"
            f" from {URL} into the folder {folder}, or choose metrics=classifier"
        ) from error
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked_hash(path: Path) -> str:
    """The file's sha256, once it is known to hold tensors alone: torch-fidelity would run code that is in it."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} does not hold Inception's weights; get them from {URL}") from error
    return _sha256(path)


def _build(path: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        with torch.random.fork_rng(devices=[]):  # the constructor draws weights before it loads them
            network: nn.Module = FeatureExtractorInceptionV3(
                "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
            )
    except RuntimeError as error:
        raise UserError(f"{path} does not hold Inception's weights; get them from {URL}") from error
    return network
