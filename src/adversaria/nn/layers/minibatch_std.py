"""Minibatch standard deviation (Karras et al. 2018, "Progressive Growing of GANs", section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.nn.layers.precision import at_least_float32, without_autocast


class MinibatchStd(nn.Module):
    """Appends maps that say how much the samples of a group differ, so that D sees a lack of variety.

    The batch of N is cut into ``n = ceil(N / group)`` groups, sample i into group ``i mod n``: groups of equal size
    where ``group`` divides N, else of sizes that differ by one. The standard deviation over a group at each position
    and channel is averaged over positions and over ``1 / channels`` of the channels, and every sample of the group is
    given these numbers as constant maps.

    Args:
        group: samples in a group, at most.
        channels: maps to append; divides the number of channels.
    """

    mixes_samples = True

    def __init__(self, group: int, channels: int = 1) -> None:
        super().__init__()
        self.group, self.channels = group, channels

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C + channels, H, W]``."""
        with without_autocast(x.device):
            std = self._group_std(at_least_float32(x)).to(x.dtype)  # [N, channels]
        return torch.cat([x, std[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)

    def _group_std(self, x: Tensor) -> Tensor:
        """The numbers of each sample's group, ``[N, channels]``."""
        n = len(x)
        groups = -(-n // self.group)
        members = -(-n // groups)
        # Places of the last members that some groups lack count for nothing.
        present = (torch.arange(members * groups, device=x.device) < n).to(x.dtype).view(members, groups, 1, 1)
        count = present.sum(dim=0)  # [groups, 1, 1]
        x = F.pad(x.flatten(1), (0, 0, 0, members * groups - n))  # [members * groups, C * H * W]
        x = x.view(members, groups, self.channels, -1)
        deviation = (x - x.sum(dim=0) / count) * present
        std = (deviation.square().sum(dim=0) / count + 1e-8).sqrt().mean(dim=2)  # [groups, channels]
        return std.repeat(members, 1)[:n]
