"""torch-fidelity's published networks as extractors: what reads their weights files, and one class for each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adversaria.core.downloads import require_download
from adversaria.core.errors import UserError

if TYPE_CHECKING:
    from adversaria.data.module import DataModule


class FidelityExtractor(nn.Module):
    """uint8 images ``[N, 1 or 3, H, W]`` -> features ``[N, F]`` and logits ``[N, K]``; grey becomes three channels.

    The weights are downloaded once into torch's hub folder, and refused there if their checksum is not the published
    one. A file of tensors is opened as such before torch-fidelity, which would run code in it, may see it; where the
    published file itself is code (TorchScript), no other is ever opened.

    Args:
        weights: a file to take instead of the download.

    Attributes:
        title: of the network, for messages.
        url: of the published weights.
        sha256: of that file, or its first digits.
        file: its name in the hub folder.
        holds_code: whether the file is more than tensors.
    """

    name: str
    title: str
    feature_dim: int
    resizer: str
    url: str
    sha256: str
    file: str
    holds_code = False
    weights_hash = ""

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.weights = None if weights is None else Path(weights).expanduser()
        if self.weights is not None and not self.weights.is_file():
            raise UserError(
                f"metrics.extractor.weights={weights} is not a file; give the path of {self.title}'s weights"
            )
        self.network: nn.Module | None = None

    def build(self, path: Path) -> nn.Module:
        """torch-fidelity's network with the verified weights in ``path``; it gives a tuple of features, or of features
        and logits.
        """
        raise NotImplementedError

    def load(self, data: DataModule, device: torch.device, cache_dir: Path) -> None:
        """Downloads the weights if need be and builds the network; the global random state stays as it was.

        Raises:
            UserError: the data are no images of 1 or 3 channels; the weights cannot be had.
        """
        if data.spec.image_shape is None or data.spec.image_shape[0] not in (1, 3):
            raise UserError(
                f"metrics={self.name} takes images of 1 or 3 channels, which data={data.name} of shape"
                f" {list(data.spec.shape)} is not; choose metrics=none or another extractor"
            )
        if self.network is not None:
            return
        path = self.weights or self._download()
        self.weights_hash = self._verified(path)
        try:
            with torch.random.fork_rng(devices=[]):  # constructors draw weights before they load them
                self.network = self.build(path)
        except RuntimeError as error:
            raise self._not_the_weights(path) from error

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; needs `load`. A network without classes gives one logit, so that its Inception Score is 1."""
        if self.network is None:
            raise RuntimeError("call load() first")
        features, *logits = self.network(images.expand(-1, 3, -1, -1))
        return features, logits[0] if logits else features.new_zeros(len(features), 1)

    def _download(self) -> Path:
        """The path of the weights in torch's hub folder."""
        path = Path(torch.hub.get_dir()) / "checkpoints" / self.file
        if path.is_file():
            return path
        require_download(f"{self.title}'s weights")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(self.url, str(path), hash_prefix=self.sha256)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"metrics={self.name} needs {self.title}'s weights, which could not be downloaded ({error}): download"
                f" {self.url} to {path} yourself, or choose metrics=classifier"
            ) from error
        return path

    def _verified(self, path: Path) -> str:
        """The file's sha256, once it is known that opening it runs no code but the published."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(self.sha256):
            if self.weights is None:
                raise UserError(
                    f"{self.title}'s weights {path} are damaged; delete the file, or replace it by {self.url}"
                )
            if self.holds_code:
                raise self._not_the_weights(path)
        if not self.holds_code:
            try:
                torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
                raise self._not_the_weights(path) from error
        return digest

    def _not_the_weights(self, path: Path) -> UserError:
        return UserError(f"{path} does not hold {self.title}'s weights; get them from {self.url}")


class InceptionExtractor(FidelityExtractor):
    """Inception-v3: features ``[N, 2048]`` (the last pooling) and logits ``[N, 1008]`` (without bias), as FID, KID and
    IS have been published since TensorFlow 1. 91 MB.
    """

    name = "inception"
    title = "Inception"
    feature_dim = 2048
    resizer = "bilinear as in TensorFlow 1 to 299x299"
    url = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    sha256 = "6726825d"
    file = "weights-inception-2015-12-05-6726825d.pth"

    def build(self, path: Path) -> nn.Module:
        """See `FidelityExtractor`."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        network: nn.Module = FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
        return network


class VGG16Extractor(FidelityExtractor):
    """VGG-16 (Simonyan & Zisserman 2015): features ``[N, 4096]`` of the second fully connected layer after its ReLU, on
    which Kynkäänniemi et al. 2019 define precision and recall. 528 MB.
    """

    name = "vgg16"
    title = "VGG-16"
    feature_dim = 4096
    resizer = "bilinear as in TensorFlow 1 to 224x224"
    url = "https://download.pytorch.org/models/vgg16-397923af.pth"
    sha256 = "397923af"
    file = "vgg16-397923af.pth"

    def build(self, path: Path) -> nn.Module:
        """See `FidelityExtractor`."""
        from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

        network: nn.Module = FeatureExtractorVGG16("vgg16", ["fc2_relu"], feature_extractor_weights_path=str(path))
        return network


class CLIPExtractor(FidelityExtractor):
    """The image tower of CLIP ViT-B/32 (Radford et al. 2021): features ``[N, 512]``, of photographs and whatever else
    is captioned on the web (Kynkäänniemi et al. 2023, "The Role of ImageNet Classes in Fréchet Inception Distance").
    354 MB. The published file is TorchScript.
    """

    name = "clip"
    title = "CLIP"
    feature_dim = 512
    resizer = "bilinear as in TensorFlow 1 to 224x224"
    sha256 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/ViT-B-32.pt"
    file = f"clip-vit-b-32-{sha256}.pt"
    holds_code = True

    def build(self, path: Path) -> nn.Module:
        """See `FidelityExtractor`."""
        from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

        network: nn.Module = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(path))
        return network


class DINOv2Extractor(FidelityExtractor):
    """DINOv2 ViT-L/14 (Oquab et al. 2023): features ``[N, 1024]`` of the class token, learned without labels (Stein et
    al. 2023, "Exposing Flaws of Generative Model Evaluation Metrics", whose resizer is another). 1.2 GB, for a GPU.

    The network's definition is code that its authors publish on GitHub: the one commit below is fetched into torch's
    hub folder and run, whatever ``weights`` is.
    """

    name = "dinov2"
    title = "DINOv2"
    feature_dim = 1024
    resizer = "bilinear as in TensorFlow 1 to 224x224"
    url = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
    sha256 = "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"
    file = "dinov2_vitl14_pretrain.pth"
    code = "facebookresearch/dinov2:e1277af2ba9496fbadf7aec6eba56e8d882d1e35"

    def build(self, path: Path) -> nn.Module:
        """See `FidelityExtractor`."""
        from torch_fidelity.feature_extractor_base import FeatureExtractorBase
        from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

        class Pinned(FeatureExtractorDinoV2):  # type: ignore[misc]
            """Whose own constructor takes whatever code is the newest, and no file of weights."""

            def __init__(self, model: nn.Module) -> None:
                FeatureExtractorBase.__init__(self, "dinov2-vit-l-14", ["dinov2"])
                self.model, self.feature_extractor_internal_dtype = model, torch.float32

        model = self._architecture()
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        network: nn.Module = Pinned(model)
        return network

    def _architecture(self) -> Any:
        os.environ["XFORMERS_DISABLED"] = "1"  # features must not depend on what else is installed
        if not (Path(torch.hub.get_dir()) / self.code.replace("/", "_").replace(":", "_")).is_dir():
            require_download(f"{self.title}'s code")
        try:
            with contextlib.redirect_stdout(sys.stderr):
                # A commit names its contents; the validation that is skipped knows tips of branches alone.
                return torch.hub.load(  # type: ignore[no-untyped-call]
                    self.code, "dinov2_vitl14", pretrained=False, skip_validation=True, verbose=False
                )
        except OSError as error:
            repository, commit = self.code.split(":")
            raise UserError(
                f"metrics=dinov2 needs DINOv2's code, which could not be downloaded ({error}): unpack"
                f" https://github.com/{repository}/archive/{commit}.zip as"
                f" {Path(torch.hub.get_dir()) / self.code.replace('/', '_').replace(':', '_')} yourself, or choose"
                " metrics=classifier"
            ) from error
