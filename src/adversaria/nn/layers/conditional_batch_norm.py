"""BatchNorm whose gain and bias follow the class (Dumoulin et al. 2017; de Vries et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def zero_embedding(condition: int, channels: int) -> nn.Embedding:
    """Numbers ``[N, channels]`` for class numbers ``[N]``, all zero at first."""
    embedding = nn.Embedding(condition, channels)
    nn.init.zeros_(embedding.weight)
    return embedding


class ConditionalBatchNorm(nn.Module):
    """BatchNorm without parameters, then ``x * (1 + gain(y)) + bias(y)``, y being the condition of each sample.

    With embeddings of class numbers (the default) it is that of Miyato & Koyama 2018 ("cGANs with Projection
    Discriminator", section 4); with linear maps of a vector that of BigGAN (Brock et al. 2019, appendix B). Both start
    at plain BatchNorm: gain and bias are zero at first, if their weights are.

    Args:
        norm: the BatchNorm, of C channels.
        condition: number of classes, or length of the condition vector.
        make: called as ``make(condition, C)`` for gain and for bias; gives a module that maps the condition to
            ``[N, C]``.
    """

    def __init__(
        self, norm: _BatchNorm, condition: int, make: Callable[[int, int], nn.Module] = zero_embedding
    ) -> None:
        super().__init__()
        self.norm = norm
        self.gain, self.bias = make(condition, norm.num_features), make(condition, norm.num_features)

    @classmethod
    def replacing(cls, norm: _BatchNorm, classes: int) -> ConditionalBatchNorm:
        """What takes the place of a BatchNorm with parameters: each of the classes starts with its gain and bias.

        ``norm`` stays within it, with its statistics and without its parameters.
        """
        layer = cls(norm, classes)
        with torch.no_grad():
            layer.gain.weight.copy_(norm.weight - 1)  # type: ignore[operator]  # [C] -> [classes, C]
            layer.bias.weight.copy_(norm.bias)  # type: ignore[operator]
        norm.affine, norm.weight, norm.bias = False, None, None  # type: ignore[assignment]
        return layer

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``x [N, C]`` or ``[N, C, ...]``, ``y [N]`` int64 or ``[N, condition]`` -> the shape of ``x``."""
        ones = (1,) * (x.ndim - 2)
        gain: Tensor = self.gain(y).unflatten(1, (-1, *ones))  # [N, C, 1, 1] for maps
        bias: Tensor = self.bias(y).unflatten(1, (-1, *ones))
        h: Tensor = self.norm(x)
        return h * (1 + gain) + bias


class ConditionalBatchNorm2d(ConditionalBatchNorm):
    """That of maps ``[N, C, H, W]``.

    Args:
        channels: C.
        condition: see `ConditionalBatchNorm`.
        make: see `ConditionalBatchNorm`.
        eps: added to the variance.
    """

    def __init__(
        self,
        channels: int,
        condition: int,
        make: Callable[[int, int], nn.Module] = zero_embedding,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(nn.BatchNorm2d(channels, eps=eps, affine=False), condition, make)
