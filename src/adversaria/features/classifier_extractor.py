"""`metrics=classifier`: features of a small classifier of the data's own labels; no download, any kind of image."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adversaria.core.arrays import BadFile, content_hash, key_hash, load_arrays, save_arrays
from adversaria.core.errors import UserError
from adversaria.features.classifier import ClassifierNetwork, from_arrays, to_arrays
from adversaria.features.classifier_training import Recipe, accuracy, train

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

log = logging.getLogger(__name__)

COMMITTED = Path(__file__).parent / "weights"


class ClassifierExtractor(nn.Module):
    """uint8 images ``[N, C, H, W]`` -> features ``[N, 192]`` and logits ``[N, classes]``.

    The classifiers of digits, mnist and cifar10 come with the package, so that scores on them are the same for
    everyone. For other labelled data one is trained on first use, and cached.

    Args:
        weights: ``digits``, ``mnist`` or ``cifar10``, or a file that `adversaria.cli.train_classifier` wrote: that
            classifier for any images, with or without labels. None: the one of the data.
    """

    name = "classifier"
    feature_dim = ClassifierNetwork.feature_dim
    resizer = ""
    weights_hash = ""

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.weights = weights
        self.classifies_data = weights is None
        self.network: ClassifierNetwork | None = None

    def load(self, data: DataModule, device: torch.device, cache_dir: Path) -> None:
        """Reads the package's weights for ``data``, else the cached ones, else trains.

        Raises:
            UserError: the data has no labels, or ``weights`` are not for such images.
        """
        if self.weights is not None:
            network = _given(self.weights, data)
            self.classifies_data = self.weights == data.name
        else:
            _check_labels(data)
            network = committed_for(data) or _own(data, device, cache_dir)
        arrays, _ = to_arrays(network)
        self.network = network
        self.weights_hash = content_hash(arrays)
        self.resizer = f"antialiased bilinear to {network.size}x{network.size}"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; needs `load`."""
        if self.network is None:
            raise RuntimeError("call load() first")
        features, logits = self.network(images)
        return features, logits


def describe(data: DataModule, recipe: Recipe) -> dict[str, Any]:
    """What determines a trained classifier: the images, their labels and the recipe."""
    return {"data": data.identity("train"), "mirror": data.mirror, "recipe": asdict(recipe)}


def _check_labels(data: DataModule) -> None:
    if data.spec.num_classes is None:
        raise UserError(
            f"metrics=classifier needs labels, which data={data.name} has none of; choose metrics=inception, or another"
            f" data set's classifier as in metrics.extractor.weights=cifar10 ({', '.join(_names())})"
        )
    if data.spec.num_classes < 2:
        raise UserError(
            f"metrics=classifier needs at least two classes, but data={data.name} has one; choose metrics=inception"
            " or metrics=none"
        )


def _names() -> list[str]:
    """Whose classifiers come with the package."""
    return sorted(path.stem for path in COMMITTED.glob("*.npz"))


def _given(weights: str, data: DataModule) -> ClassifierNetwork:
    """The classifier that ``weights`` names."""
    path = COMMITTED / f"{weights}.npz" if weights in _names() else Path(weights).expanduser()
    if not path.is_file():
        raise UserError(
            f"metrics.extractor.weights={weights} is neither a file nor one of {', '.join(_names())}; give one of these"
        )
    try:
        network = from_arrays(*load_arrays(path))
    except BadFile as error:
        raise UserError(f"metrics.extractor.weights={weights} holds no classifier ({error}); give another") from error
    if network.channels != _channels(data):
        raise UserError(
            f"metrics.extractor.weights={weights} is for images of {network.channels} channels, which those of"
            f" {data.name} are not; give others"
        )
    return network


def committed(name: str) -> ClassifierNetwork | None:
    """The package's own classifier of the data set ``name``, on the CPU; None if there is none."""
    path = COMMITTED / f"{name}.npz"
    return from_arrays(*load_arrays(path)) if path.is_file() else None


def _channels(data: DataModule) -> int:
    """Of the data's images."""
    assert data.spec.image_shape is not None, "metrics refuse samples that are no images"
    return data.spec.image_shape[0]


def committed_for(data: DataModule) -> ClassifierNetwork | None:
    """The package's own classifier of ``data``, if there is one for images of such channels and classes."""
    network = committed(data.name)
    wanted = (_channels(data), data.spec.num_classes)
    return network if network is not None and (network.channels, network.num_classes) == wanted else None


def _own(data: DataModule, device: torch.device, cache_dir: Path) -> ClassifierNetwork:
    """The classifier trained on ``data``, from the cache if it is there."""
    recipe = Recipe()
    key = describe(data, recipe)
    path = cache_dir / "classifiers" / f"{data.name}-{key_hash(key)[:16]}.npz"
    try:
        arrays, about = load_arrays(path)
        if about["key"] == key:
            return from_arrays(arrays, about)
        log.warning("%s is of something else; it is made anew", path)
    except BadFile as error:
        if path.exists():
            log.warning("%s; it is made anew", error)
    log.info(
        "metrics=classifier trains a small classifier of %s once (%d epochs); it is kept in %s",
        data.name,
        recipe.epochs(len(data.split("train"))),
        path,
    )
    arrays, about = to_arrays(train_on(data, recipe, device))
    try:
        save_arrays(path, arrays, {**about, "key": key})
    except OSError as error:
        log.warning("the classifier is not cached: %s", error)
    network = from_arrays(arrays, about)  # as the next run will read it: in half precision
    if "test" in data.loaded.splits:
        log.info(
            "it names %.1f%% of the test images correctly", 100 * accuracy(network.to(device), data.images("test"))
        )
    return network


def train_on(data: DataModule, recipe: Recipe, device: torch.device) -> ClassifierNetwork:
    """The classifier of labelled ``data``, as trained: in float32."""
    assert data.spec.num_classes is not None
    return train(data.images("train"), data.spec.num_classes, mirror=data.mirror, recipe=recipe, device=device)
