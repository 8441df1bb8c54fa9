"""Self-attention between the positions of a feature map (Zhang et al. 2019, "Self-Attention GANs")."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention2d(nn.Module):
    """``x + gamma * o(softmax(theta(x)^T phi(x)) g(x))`` (equations 1 to 3), keys and values at half the side.

    Queries and keys have C/8 channels, values C/2; phi and g are max-pooled, as in the authors' code. gamma is learned
    and starts at 0, so that the layer is the identity at first.

    Args:
        channels: C.
        wrap: applied to each of the four 1x1 convolutions, such as `spectral_norm`.
    """

    def __init__(self, channels: int, wrap: Callable[[nn.Conv2d], nn.Module] = lambda layer: layer) -> None:
        super().__init__()
        keys, values = max(1, channels // 8), max(1, channels // 2)
        self.theta = wrap(nn.Conv2d(channels, keys, 1, bias=False))
        self.phi = wrap(nn.Conv2d(channels, keys, 1, bias=False))
        self.g = wrap(nn.Conv2d(channels, values, 1, bias=False))
        self.o = wrap(nn.Conv2d(values, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` with even H and W -> ``[N, C, H, W]``."""
        theta = self.theta(x).flatten(2)  # [N, C/8, H*W]
        phi = F.max_pool2d(self.phi(x), 2).flatten(2)  # [N, C/8, H*W/4]
        g = F.max_pool2d(self.g(x), 2).flatten(2)  # [N, C/2, H*W/4]
        # No fused attention kernel: gradient penalties differentiate twice. No scaling: the paper has none.
        attention = torch.bmm(theta.transpose(1, 2), phi).softmax(dim=-1)  # [N, H*W, H*W/4]
        h = torch.bmm(g, attention.transpose(1, 2)).view(len(x), -1, *x.shape[2:])  # [N, C/2, H, W]
        out: Tensor = x + self.gamma * self.o(h)
        return out
