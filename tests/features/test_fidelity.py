from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch_fidelity import feature_extractor_inceptionv3 as inception
from torch_fidelity.feature_extractor_clip import CLIPVisual, FeatureExtractorCLIP
from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

from adversaria.config.build import construct
from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.features import CLIPExtractor, DINOv2Extractor, InceptionExtractor, VGG16Extractor
from adversaria.features.extractor import Extractor
from adversaria.features.fidelity import FidelityExtractor
from adversaria.modalities import Image

EXTRACTORS = [InceptionExtractor, VGG16Extractor, CLIPExtractor, DINOv2Extractor]
GREY = torch.randint(256, (2, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
every = pytest.mark.parametrize("kind", EXTRACTORS, ids=lambda kind: kind.name)


def load(extractor: FidelityExtractor, channels: int = 1) -> FidelityExtractor:
    spec = DataSpec((channels, 8, 8), None, Image())
    data: Any = SimpleNamespace(name="mine", spec=spec)
    extractor.load(data, torch.device("cpu"), Path("unused"))
    return extractor


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's hub folder, without a network."""

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub"


@every
def test_config_composes_and_its_scores_carry_its_name(
    kind: type[FidelityExtractor], make_config: Callable[..., dict[str, Any]]
) -> None:
    config = make_config("model=dcgan", "data=digits", f"metrics={kind.name}")
    metrics: Any = construct(config["metrics"], "metrics", [])[kind.name]
    assert type(metrics.extractor) is kind
    assert isinstance(metrics.extractor, Extractor)
    assert metrics.monitor == ("fid10k" if kind is InceptionExtractor else f"{kind.name}_fid10k")


@every
def test_offline_one_sentence_says_what_to_put_where(kind: type[FidelityExtractor], hub: Path) -> None:
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        load(kind())
    message = str(caught.value)
    assert message.startswith(f"metrics={kind.name} needs {kind.title}'s weights")
    assert f"download {kind.url} to {hub / 'checkpoints' / kind.file}" in message
    assert "\n" not in message
    assert list((hub / "checkpoints").iterdir()) == []


@every
def test_a_damaged_download_is_refused(kind: type[FidelityExtractor], hub: Path) -> None:
    (hub / "checkpoints").mkdir(parents=True)
    (hub / "checkpoints" / kind.file).write_bytes(b"cut off")
    with pytest.raises(UserError, match=f"{kind.title}'s weights .*{kind.file} are damaged; delete"):
        load(kind())


@every
def test_a_missing_file_and_strange_data_are_refused(kind: type[FidelityExtractor], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.extractor\.weights"):
        kind(weights=str(tmp_path / "missing.pth"))
    with pytest.raises(UserError, match=f"metrics={kind.name} takes images of 1 or 3 channels"):
        load(kind(), channels=2)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hostile",)


@every
@pytest.mark.parametrize("content", [Hostile(), {"fc.weight": torch.zeros(3)}, b"x"], ids=["code", "others", "bytes"])
def test_files_that_are_not_its_weights_run_no_code(
    kind: type[FidelityExtractor], content: Any, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "load", lambda *_, **__: nn.Linear(1, 1))
    monkeypatch.setattr(torchvision.models, "vgg16", SmallVGG)  # the whole one takes seconds to draw
    Path("weights.pth").write_bytes(content) if isinstance(content, bytes) else torch.save(content, "weights.pth")
    with pytest.raises(UserError, match=rf"weights\.pth does not hold {kind.title}'s weights; get them from https"):
        load(kind(weights="weights.pth"))
    assert not Path("hostile").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")  # what the published file is made with
def test_torchscript_that_is_not_the_published_file_is_not_even_opened(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)).save("weights.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(UserError, match="does not hold CLIP's weights"):
        load(CLIPExtractor(weights="weights.pt"))


def check_features(extractor: FidelityExtractor, oracle: nn.Module) -> Tensor:
    """Loads, and compares with torch-fidelity's own network on the image in colour."""
    assert extractor.weights is not None
    state = torch.get_rng_state()
    load(extractor)
    assert torch.equal(torch.get_rng_state(), state)
    assert extractor.weights_hash == hashlib.sha256(extractor.weights.read_bytes()).hexdigest()
    with torch.no_grad():
        features, logits = extractor.eval()(GREY)
        (expected,) = oracle(GREY.repeat(1, 3, 1, 1))
    assert torch.equal(features, expected)
    assert features.shape == (2, extractor.feature_dim)
    assert features.std() > 0
    assert torch.equal(logits, torch.zeros(2, 1))
    return features


class SmallVGG(nn.Module):
    """As VGG-16 ends, of few parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 32, stride=32)
        layers = [nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4096), nn.ReLU(), nn.Dropout()]
        self.classifier = nn.Sequential(*layers, nn.Linear(4096, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def test_vgg16_is_torch_fidelitys_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "vgg16", SmallVGG)
    file = str(tmp_path / "weights.pth")
    torch.save(SmallVGG().state_dict(), file)
    oracle = FeatureExtractorVGG16("vgg16", ["fc2_relu"], feature_extractor_weights_path=file)
    features = check_features(VGG16Extractor(weights=file), oracle)
    assert features.min() == 0  # after the ReLU


def test_clip_is_torch_fidelitys_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visual = CLIPVisual(512, 64, 1, 64, 32)
    for parameter in visual.parameters():
        nn.init.normal_(parameter, std=0.1)
    state = {**visual.state_dict(), "text_projection": torch.zeros(1, 512)}
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: SimpleNamespace(state_dict=lambda: dict(state)))
    file = tmp_path / "weights.pt"
    file.write_bytes(b"stands for the published file")
    monkeypatch.setattr(CLIPExtractor, "sha256", hashlib.sha256(file.read_bytes()).hexdigest())
    oracle = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(file))
    check_features(CLIPExtractor(weights=str(file)), oracle)


HUBCONF = """
import torch

def dinov2_vitl14(*, pretrained):
    assert not pretrained
    return torch.nn.Sequential(torch.nn.AvgPool2d(28), torch.nn.Flatten(), torch.nn.Linear(192, 1024))
"""


def hub_code(hub: Path) -> Path:
    return hub / f"facebookresearch_dinov2_{DINOv2Extractor.code.split(':')[1]}"


def test_dinov2_is_torch_fidelitys_network(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_code(hub).mkdir(parents=True)
    (hub_code(hub) / "hubconf.py").write_text(HUBCONF)
    model = torch.hub.load(str(hub_code(hub)), "dinov2_vitl14", source="local", pretrained=False)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    with monkeypatch.context() as patch:
        patch.setattr(torch.hub, "load", lambda *_, **__: model)
        oracle = FeatureExtractorDinoV2("dinov2-vit-l-14", ["dinov2"])
    check_features(DINOv2Extractor(weights=str(tmp_path / "weights.pth")), oracle)


def test_without_dinov2s_code_one_sentence_says_where_it_belongs(hub: Path, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"needs DINOv2's code, which could not be downloaded .*\.zip as") as caught:
        load(DINOv2Extractor(weights=str(tmp_path / "weights.pth")))
    assert str(hub_code(hub)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_code_of_dinov2_is_pinned_to_a_commit() -> None:
    repository, commit = DINOv2Extractor.code.split(":")
    assert repository == "facebookresearch/dinov2"  # whom torch.hub trusts without asking
    assert len(bytes.fromhex(commit)) == 20


def test_inception_is_torch_fidelitys_network_and_repeats_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Random weights in the place of the download; everything from the file on is the real path.
    with monkeypatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        oracle = inception.FeatureExtractorInceptionV3("oracle", ["2048", "logits_unbiased"])
    torch.save(oracle.state_dict(), tmp_path / "weights.pth")
    state = torch.get_rng_state()
    extractor = load(InceptionExtractor(weights=str(tmp_path / "weights.pth")))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(extractor.weights_hash) == 64
    grey = torch.randint(256, (1, 1, 8, 8)).byte()
    with torch.no_grad():
        features, logits = extractor(grey)
        expected = oracle(grey.repeat(1, 3, 1, 1))
    assert features.shape == (1, extractor.feature_dim)
    assert torch.equal(features, expected[0])
    assert torch.equal(logits, expected[1])
