"""From image files on, all scores of the classifier's features equal those of torch-fidelity and prdc."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prdc
import pytest
import torch
import torch_fidelity
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torchvision.io import write_png

from adversaria.data.images.named import CIFAR10, Digits
from adversaria.data.module import DataModule
from adversaria.evaluation.metrics import FeatureMetrics
from adversaria.features import ClassifierExtractor
from adversaria.features.extraction import embed
from studies.disturbances.images import DISTURBANCES

COUNT = 640  # of reals and of fakes: in whole blocks, and more than the 192 features
SCORES = {
    "fid": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "is": "inception_score_mean",
    "precision": "precision",
    "recall": "recall",
}


@pytest.fixture(params=["digits", "cifar10"])
def reals_and_fakes(request: pytest.FixtureRequest) -> tuple[DataModule, Tensor]:
    """A data set of `COUNT` training images, and as many disturbed images ``[COUNT, C, H, W]``: no real is among them,
    for prdc does not count what lies exactly on a ball.
    """
    data, others = request.getfixturevalue(request.param)
    one, two = others.chunk(2)
    return data, torch.cat([DISTURBANCES["gaussian_noise"](one, level=1), DISTURBANCES["swirl"](two, level=1)])


@pytest.fixture
def digits(make_digits: Callable[..., Digits]) -> tuple[DataModule, Tensor]:
    everything = [make_digits().split(split).batch(slice(None)).samples for split in ("train", "test")]
    return make_digits(limit=COUNT), torch.cat(everything)[-COUNT:]


@pytest.fixture
def cifar10(shared_data: Path, tmp_path: Path) -> tuple[DataModule, Tensor]:
    """A cut of the archive: equally many images of each class from either split."""
    chosen = tuple(f"/{i:04d}.jpg" for i in range(COUNT // 10))
    with tarfile.open(shared_data / "cifar10-jpeg.tar.xz", "r|*") as archive:
        for member in archive:
            if member.name.endswith(chosen):
                archive.extract(member, tmp_path / "cifar10", filter="data")
    places = {"root": str(tmp_path / "cifar10"), "cache_dir": str(tmp_path), "download": False, "limit": None}
    data = CIFAR10(
        name="cifar10", size=32, channels=3, fit="resize", mirror=False, batch_size=1, storage="auto", num_workers=0,
        seed=0, **places,
    )  # fmt: skip
    data.prepare()
    return data, data.split("test").batch(slice(None)).samples


class Ours(FeatureExtractorBase):
    """The classifier as torch-fidelity sees it: images always come in colour."""

    extractor: ClassifierExtractor
    channels: int

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features, logits = self.extractor(images[:, : self.channels])
        return tuple({"features": features, "logits": logits}[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False


def write_images(folder: Path, images: Tensor) -> str:
    folder.mkdir()
    for i, image in enumerate(images):
        write_png(image.contiguous(), str(folder / f"{i:04d}.png"))
    return str(folder)


def torch_fidelitys(fakes: str, reals: str, extractor: ClassifierExtractor, channels: int) -> dict[str, float]:
    registered = type("Registered", (Ours,), {"extractor": extractor, "channels": channels})
    torch_fidelity.register_feature_extractor("ours", registered)
    try:
        return torch_fidelity.calculate_metrics(
            input1=fakes,
            input2=reals,
            feature_extractor="ours",
            **dict.fromkeys(("isc", "fid", "kid", "prc"), True),
            isc_splits=1,
            kid_subsets=1,
            kid_subset_size=COUNT,
            prc_neighborhood=3,
            **dict.fromkeys(("cuda", "cache", "samples_shuffle", "verbose"), False),
            save_cpu_ram=True,  # no worker processes
        )
    finally:
        del FEATURE_EXTRACTORS_REGISTRY["ours"]


@pytest.mark.filterwarnings("ignore:.*superseded by .*TorchCodec:DeprecationWarning")  # torch-fidelity reads with it
def test_scores_equal_torch_fidelity_and_prdc(
    reals_and_fakes: tuple[DataModule, Tensor], tmp_path: Path, device: torch.device
) -> None:
    data, fakes = reals_and_fakes
    reals = data.split("train").batch(slice(None)).samples
    assert len(reals) == len(fakes) == COUNT
    metrics = FeatureMetrics(
        extractor=ClassifierExtractor(),
        count=COUNT,
        references=["train"],
        batch_size=320,
        kid_subsets=1,
        kid_subset_size=COUNT,
        is_splits=1,
        cache_dir=str(tmp_path),
    )
    metrics.prepare(data, device)
    ours = metrics.evaluate(lambda start, stop: (fakes[start:stop], None), device)
    ours = {name.removeprefix("classifier_").replace(str(COUNT), ""): value for name, value in ours.items()}

    folders = [write_images(tmp_path / name, images) for name, images in (("fakes", fakes), ("reals", reals))]
    theirs = torch_fidelitys(folders[0], folders[1], metrics.extractor, data.spec.shape[0])
    assert {name: ours[name] for name in SCORES} == pytest.approx(
        {name: theirs[key] for name, key in SCORES.items()}, rel=1e-3
    )
    features = [embed(metrics.extractor, images, device)[0].numpy() for images in (reals, fakes)]
    oracle = prdc.compute_prdc(*features, nearest_k=5)
    assert {name: ours[name] for name in ("density", "coverage")} == pytest.approx(
        {name: float(oracle[name]) for name in ("density", "coverage")}, rel=1e-12
    )
    # None of them is a score that any two sets would have.
    assert ours["fid"] > 0.1
    assert ours["kid"] > 0.001
    assert ours["is"] > 2
    assert all(0.1 < ours[name] < 0.95 for name in ("precision", "recall", "density", "coverage"))
