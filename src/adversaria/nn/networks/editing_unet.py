"""A small U-Net for editing: it adds to what it is given, and trains in minutes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth, Width
from adversaria.core.types import DataSpec
from adversaria.nn.network import Generator
from adversaria.nn.networks.patchgan import condition_channels

_KEY = "model.generator"


class EditingUNet(Generator):
    """Residual blocks at each scale, shortcuts between equal scales (Ronneberger et al. 2015), SiLU, no norm.

    Its last layer starts at zero and its output is added to the picture that is given (to its mean, where that has
    other channels), so that it begins as doing nothing; without a norm a picture is edited alike whatever lies beside
    it in the batch. Where a condition says what of it is known, the rest is filled from coarser averages before
    anything else (`fill_unknown`), and what is known is given back as it is. Takes no noise.

    Args:
        spec: of the data: images and the pictures that are edited, of equal height and width.
        width: channels at the full size; ``k + 1`` times as many after ``k`` halvings.
        depth: how many times the side is halved.

    Raises:
        UserError: nothing is given to edit, something of another size, or sides that ``2 ** depth`` does not divide.
    """

    latent_dim = 0
    conditional = translates = True

    def __init__(self, *, spec: DataSpec, width: Width = 32, depth: Depth = 3) -> None:
        super().__init__()
        given = condition_channels(spec, _KEY)
        assert spec.condition is not None
        self.channels, self.known = spec.shape[0], spec.condition.modality.known
        if any(side % 2**depth for side in spec.shape[1:]):
            raise UserError(
                f"{_KEY}.depth={depth} takes images whose sides {2**depth} divides, and these have "
                f"{spec.shape[1]}x{spec.shape[2]}; give a smaller depth or another data.size"
            )
        widths = [width * (k + 1) for k in range(depth + 1)]
        self.stem = nn.Conv2d(given, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.encode = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in widths)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in widths[:-1])
        self.head = nn.Conv2d(width, self.channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """``z [N, 0]`` and ``condition [N, C', H, W]`` -> images ``[N, C, H, W]``."""
        known = self.known(condition)
        if known is not None:
            filled = fill_unknown(condition[:, : self.channels], known)
            condition = torch.cat([filled, condition[:, self.channels :]], dim=1)
        edited = self._picture(condition) + self._changes(condition)
        return edited if known is None else torch.where(known, condition[:, : self.channels], edited)

    def _picture(self, condition: Tensor) -> Tensor:
        """``[N, C, H, W]`` of what is given: itself, or its mean where it has other channels."""
        if condition.shape[1] >= self.channels:
            return condition[:, : self.channels]
        return condition.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)

    def _changes(self, condition: Tensor) -> Tensor:
        h, shortcuts = self.stem(condition), []
        for k, block in enumerate(self.encode):
            h = h + block(F.silu(h))  # [N, width * (k + 1), H / 2^k, W / 2^k]
            if k < len(self.down):
                shortcuts.append(h)
                h = self.down[k](F.silu(h))
        for k in reversed(range(len(self.up))):
            h = F.interpolate(self.up[k](h), scale_factor=2) + shortcuts[k]
            h = h + self.decode[k](F.silu(h))
        changes: Tensor = self.head(F.silu(h))
        return changes


def fill_unknown(x: Tensor, known: Tensor) -> Tensor:
    """Fills unknown places from coarser averages of known ones: pull-push (Gortler et al. 1996, "The Lumigraph").

    Args:
        x: ``[N, C, H, W]``; what it says of unknown places does not matter.
        known: bool ``[N, 1, H, W]``.

    Returns:
        ``[N, C, H, W]``, equal to ``x`` where it is known; the mean of what is known in the end, 0 where nothing is.
    """
    weight = known.to(x.dtype)
    if min(x.shape[2:]) == 1:
        total = weight.sum((2, 3), keepdim=True)
        mean = (x * weight).sum((2, 3), keepdim=True) / total.clamp(min=1)
        return torch.where(known, x, mean)
    halved = F.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
    sums = F.avg_pool2d(x * weight, 2, ceil_mode=True, count_include_pad=False)
    coarse = fill_unknown(sums / halved.clamp(min=1e-6), halved > 0)
    enlarged = F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
    return torch.where(known, x, enlarged)
