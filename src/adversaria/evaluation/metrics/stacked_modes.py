"""How many of the thousand modes of stacked digits a generator covers, and how evenly."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from adversaria.core.arrays import content_hash
from adversaria.core.errors import UserError
from adversaria.core.ranges import Count
from adversaria.core.types import BLOCK, Draw
from adversaria.evaluation.protocol import Scores
from adversaria.features.classifier import ClassifierNetwork, to_arrays
from adversaria.features.classifier_extractor import committed
from adversaria.features.extraction import full_float32, gather_rows, images_of, untouched_rng

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

log = logging.getLogger(__name__)

_SCORES = ("modes_covered", "mode_kl", "mode_confidence")


class StackedModes:
    """Modes covered and the KL divergence of their histogram, for images whose channels are one picture each.

    The package's classifier names each channel; the names of all channels together are the mode of a sample, one of
    1,000 for three digits (Metz et al. 2017, "Unrolled GANs", section 3.3.1).

    - ``modes_covered``: modes that at least one sample falls into (Srivastava et al. 2017, "VEEGAN", section 4.2; Lin
      et al. 2018, "PacGAN", section 4.2; both with 26,000 samples);
    - ``mode_kl``: the reverse KL divergence ``sum_k p_k log(K p_k)`` of the samples' histogram ``p`` from ``K`` equal
      modes, in nats, as in the code that Lin et al. published. 0 is perfect, ``log K`` (6.908) a single mode;
    - ``mode_confidence``: the mean probability of the classifier's first choice. A classifier knows no "neither": it
      names whatever it is shown, so that samples nobody could read may cover many modes. Of reals the confidence is
      0.995, of samples between two digits it is less. It is no proof of quality, uniform noise is named one digit
      without a doubt: read modes beside the pictures.

    Of N samples of equal modes ``mode_kl`` is about ``(K - 1) / (2 N)``, 0.019 for 26,000, and every mode is covered.
    The digits of MNIST are not equally frequent: its stacks themselves have 0.004 more.

    Args:
        count: number of samples.
        batch_size: of the classifier, in samples, a multiple of 64.

    Raises:
        UserError: an argument out of range.
    """

    monitor = "mode_kl"
    mode: Literal["min", "max"] = "min"

    def __init__(self, *, count: Count = 26_000, batch_size: Count = 64) -> None:
        if count < 1:
            raise UserError(f"metrics.count={count} is too small; it must be at least 1")
        if batch_size < BLOCK or batch_size % BLOCK:
            raise UserError(f"metrics.batch_size={batch_size} is not a multiple of {BLOCK}; choose one")
        self.count, self.batch_size = count, batch_size
        self._data: DataModule | None = None
        self._network: ClassifierNetwork | None = None

    def prepare(self, data: DataModule, device: torch.device) -> None:
        """Loads the classifier that ``data.channel_classifier`` names.

        Raises:
            UserError: the data are not stacked.
        """
        network = None if data.channel_classifier is None else committed(data.channel_classifier)
        if network is None:
            raise UserError(
                f"metrics=stacked_modes needs data whose channels are digits (stacked_mnist), which data={data.name} is"
                " not; choose metrics=classifier, metrics=inception or metrics=none"
            )
        self._data, self._network = data, network.to(device).requires_grad_(False)

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        """The three scores by name. See `adversaria.evaluation.protocol.Metrics.evaluate`."""
        data, network = self._prepared()

        def rows(start: int, stop: int) -> Tensor:
            samples = draw(start, stop).samples
            images = images_of(samples, data.spec)
            named = name_modes(network, images.to(device))
            if samples.is_floating_point() and not bool(torch.isfinite(samples).all()):
                named.fill_(torch.nan)
            return named

        with untouched_rng(device):
            modes, confidence = gather_rows(rows, self.count, self.batch_size, device, "evaluation").double().unbind(1)
        if not bool(torch.isfinite(modes).all()):
            log.warning("samples are not finite: the scores of this evaluation are NaN")
            return Scores(dict.fromkeys(_SCORES, math.nan), dict.fromkeys(_SCORES, "samples are not finite"))
        number = network.num_classes ** data.spec.shape[0]
        covered, divergence = coverage(modes.long(), number)
        return dict(zip(_SCORES, (covered, divergence, float(confidence.mean())), strict=True))

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """See `adversaria.evaluation.protocol.Metrics.fingerprint`."""
        data, network = self._prepared()
        return {
            "extractor": "classifier",
            "extractor_weights": content_hash(to_arrays(network)[0]),
            "resizer": f"antialiased bilinear to {network.size}x{network.size}",
            "feature_precision": "float32",
            "sample_precision": "uint8",
            "mode_reference": "uniform",
            **{f"reference_{name}": value for name, value in data.identity("train").items()},
            "fakes": self.count,
        }

    def _prepared(self) -> tuple[DataModule, ClassifierNetwork]:
        if self._data is None or self._network is None:
            raise RuntimeError("call prepare() first")
        return self._data, self._network


def name_modes(network: ClassifierNetwork, images: Tensor) -> Tensor:
    """uint8 ``images [N, C, H, W]`` -> ``[N, 2]`` float32: the number of the mode, the mean confidence over channels.

    A mode's number has the channels' classes for digits, the first channel's foremost: with ten classes, the sample
    whose channels are 4, 0 and 7 is of mode 407.
    """
    with torch.no_grad(), full_float32(images.device):
        _, logits = network(images.flatten(0, 1)[:, None])  # [N * C, classes]
    confidence, classes = logits.float().softmax(dim=1).max(dim=1)
    channels = images.shape[1]
    places = network.num_classes ** torch.arange(channels - 1, -1, -1, device=images.device)
    modes = (classes.view(-1, channels) * places).sum(dim=1)
    return torch.stack([modes.float(), confidence.view(-1, channels).mean(dim=1)], dim=1)


def coverage(modes: Tensor, number: int) -> tuple[float, float]:
    """Of samples of ``modes [N]`` of ``number``: how many modes occur, and KL(histogram || equal shares) in nats."""
    shares = torch.bincount(modes, minlength=number).double() / len(modes)  # [number]
    return float((shares > 0).sum()), float(torch.special.xlogy(shares, shares * number).sum())
