"""What a network asks of its data and of its configuration, refused in one sentence before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec

Choice = TypeVar("Choice")


def require_positive(key: str, **values: int) -> None:
    """Refuses sizes below 1.

    Args:
        key: where these values stand in the config, such as ``model.generator``.
        values: by the name of their field.

    Raises:
        UserError: naming the first field that is too small.
    """
    for name, value in values.items():
        if value < 1:
            raise UserError(f"{key}.{name}={value} is too small: it must be 1 or more")


def choose(key: str, name: str, choices: Mapping[str, Choice]) -> Choice:
    """What ``name`` stands for.

    Args:
        key: where the name stands in the config, such as ``model.generator.norm``.
        name: chosen by the user.
        choices: by their names.

    Raises:
        UserError: there is no such name.
    """
    if name not in choices:
        raise UserError(f"{key}={name} is unknown: choose one of {', '.join(choices)}")
    return choices[name]


def square_image(spec: DataSpec, network: str, sizes: Sequence[int]) -> tuple[int, int]:
    """Channels and side of the data's images, if ``network`` can make them.

    Args:
        spec: of the data.
        network: its name for the user.
        sizes: the sides that it can make.

    Raises:
        UserError: the data is no maps, or its maps have none of these sizes.
    """
    if len(spec.shape) != 3:
        raise UserError(
            f"{network} makes images, and this data set has {spec.modality.noun} of shape {list(spec.shape)}: choose "
            f"model=mlp or model=residual_mlp, which take any shape"
        )
    channels, height, width = spec.shape
    if height != width or height not in sizes:
        raise UserError(
            f"data.size={height if height == width else f'{height}x{width}'} is not a size that {network} can make: "
            f"choose data.size from {', '.join(map(str, sizes))}, or model=mlp, which takes any size"
        )
    return channels, height


def output_activation(spec: DataSpec) -> nn.Module:
    """Brings a generator's last layer into the range of the data: tanh for images, nothing for points.

    Raises:
        UserError: the modality has none, as for images whose value range is not [-1, 1].
    """
    return spec.modality.activation()
