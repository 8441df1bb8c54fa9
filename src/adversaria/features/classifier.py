"""The small classifier whose penultimate activations are the features of `metrics=classifier`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversaria.core.arrays import Arrays, BadFile
from adversaria.core.ranges import Side, Width


class ResidualStage(nn.Module):
    """A strided convolution and one residual block of two more (He et al. 2016), each with BatchNorm."""

    def __init__(self, in_channels: Width, out_channels: Width) -> None:
        super().__init__()
        self.down = conv_norm(in_channels, out_channels, stride=2)
        self.first = conv_norm(out_channels, out_channels)
        self.second = conv_norm(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, S, S]`` -> ``[N, out_channels, S / 2, S / 2]``."""
        x = F.relu(self.down(x))
        return F.relu(x + self.second(F.relu(self.first(x))))


class ClassifierNetwork(nn.Module):
    """uint8 images ``[N, channels, H, W]`` -> features ``[N, 192]`` and logits ``[N, num_classes]``, both float32.

    40 million multiply-adds an image at ``size=32``, where Inception-v3 takes 5.7 billion: ten thousand images take
    seconds on a CPU. Features are the means over positions of the last stage, all of them >= 0.

    Args:
        channels: of the images.
        num_classes: how many classes the logits tell apart.
        size: height and width at which the convolutions work; other sizes are resized to it first.
    """

    feature_dim = 192

    def __init__(self, channels: Width, num_classes: Width, size: Side) -> None:
        super().__init__()
        self.channels, self.num_classes, self.size = channels, num_classes, size
        self.stem = conv_norm(channels, 24)
        self.stages = nn.Sequential(ResidualStage(24, 48), ResidualStage(48, 96), ResidualStage(96, self.feature_dim))
        self.head = nn.Linear(self.feature_dim, num_classes)

    def resize(self, images: Tensor) -> Tensor:
        """uint8 ``[N, channels, H, W]`` -> float32 ``[N, channels, size, size]`` in [-1, 1]."""
        x = images.to(torch.float32).div_(127.5).sub_(1)
        if x.shape[-2:] != (self.size, self.size):
            # Without antialiasing a smaller input depends on single pixels (Parmar et al. 2022, "On Aliased Resizing").
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return x.contiguous(memory_format=torch.channels_last)

    def embed(self, x: Tensor) -> Tensor:
        """What `resize` gives -> features ``[N, 192]``."""
        x = F.relu(self.stem(x))  # [N, 24, S, S]
        x = self.stages(x)  # [N, 192, S / 8, S / 8]
        return x.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 ``[N, channels, H, W]`` -> features ``[N, 192]`` and logits ``[N, num_classes]``."""
        features = self.embed(self.resize(images))
        return features, self.head(features)


def conv_norm(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution without bias, then BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out_channels)
    )


def native_size(height: int, width: int) -> int:
    """16 for images of at most 16x16 (a quarter of the cost), else 32."""
    return 16 if max(height, width) <= 16 else 32


def to_arrays(network: ClassifierNetwork) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """The weights in half precision, and the arguments of the constructor."""
    arrays = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous().numpy()
        for name, tensor in network.state_dict().items()
    }
    return arrays, {"channels": network.channels, "num_classes": network.num_classes, "size": network.size}


def from_arrays(arrays: Arrays, about: Mapping[str, Any]) -> ClassifierNetwork:
    """The inverse of `to_arrays`, in float32 and eval mode.

    Raises:
        BadFile: the arrays are not such a network's.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            network = ClassifierNetwork(about["channels"], about["num_classes"], about["size"])
        network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    except (KeyError, TypeError, RuntimeError) as error:
        raise BadFile("the file holds no such classifier") from error
    return network.to(memory_format=torch.channels_last).eval()
