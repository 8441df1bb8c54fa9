from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as fidelity

from adversaria.errors import UserError
from adversaria.metrics import FeatureMetrics, InceptionExtractor
from adversaria.types import DataSpec

FILE = "weights-inception-2015-12-05-6726825d.pth"


def data(channels: int = 3) -> SimpleNamespace:
    return SimpleNamespace(name="mine", spec=DataSpec((channels, 8, 8), None, (-1, 1), "image"))


def test_offline_one_sentence_names_the_file_and_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    metrics = FeatureMetrics(extractor=InceptionExtractor(), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(UserError) as caught:
        metrics.prepare(data(), device)  # type: ignore[arg-type]
    message = str(caught.value)
    assert FILE in message
    assert str(tmp_path / "checkpoints") in message
    assert "\n" not in message


def test_a_damaged_download_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / FILE).write_bytes(b"cut off")
    with pytest.raises(UserError, match="are damaged; delete"):
        InceptionExtractor().load(data(), device, tmp_path)  # type: ignore[arg-type]


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hostile",)


@pytest.mark.parametrize("content", [Hostile(), {"fc.weight": torch.zeros(3)}, None])
def test_files_that_are_not_its_weights_run_no_code(content: object, in_tmp: Path, device: torch.device) -> None:
    torch.save(content, "weights.pth") if content is not None else Path("weights.pth").write_bytes(b"x")
    with pytest.raises(UserError, match=r"weights\.pth does not hold Inception's weights"):
        InceptionExtractor(weights="weights.pth").load(data(), device, in_tmp)  # type: ignore[arg-type]
    assert not Path("hostile").exists()


def test_a_missing_file_and_strange_data_are_refused(tmp_path: Path, device: torch.device) -> None:
    with pytest.raises(UserError, match=r"metrics\.extractor\.weights"):
        InceptionExtractor(weights=str(tmp_path / "missing.pth"))
    with pytest.raises(UserError, match="1 or 3 channels"):
        InceptionExtractor().load(data(2), device, tmp_path)  # type: ignore[arg-type]


def test_is_torch_fidelitys_network_and_repeats_grey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    # Random weights in the place of the download; everything from the file on is the real path.
    with monkeypatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        oracle = fidelity.FeatureExtractorInceptionV3("oracle", ["2048", "logits_unbiased"])
    torch.save(oracle.state_dict(), tmp_path / "weights.pth")
    extractor = InceptionExtractor(weights=str(tmp_path / "weights.pth"))
    state = torch.get_rng_state()
    extractor.load(data(1), device, tmp_path)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)
    assert len(extractor.weights_hash) == 64
    grey = torch.randint(256, (1, 1, 8, 8)).byte()
    with torch.no_grad():
        features, logits = extractor(grey)
        expected = oracle(grey.repeat(1, 3, 1, 1))
    assert features.shape == (1, extractor.feature_dim)
    assert torch.equal(features, expected[0])
    assert torch.equal(logits, expected[1])
